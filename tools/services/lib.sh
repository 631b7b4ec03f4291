# What the scripts of this folder share: they install services in pinned versions into .cache, start them with their
# output in files, and stop them. It is sourced by bash and sets root, cache and work, a folder that goes at the end.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/.cache

ministack=1.5.33

# needs <tool…>: ends the script where one is missing.
needs() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || { echo "$0 needs $tool" >&2; exit 1; }
	done
}

# install <folder> <command…>: runs the command with a new folder, which gets its name only when all is in it.
install() {
	local folder=$cache/$1
	shift
	[ -e "$folder/.complete" ] && return
	echo "installing into ${folder#"$root"/}" >&2
	rm -rf "$folder"
	mkdir -p "$folder"
	"$@" "$folder" >&2
	touch "$folder/.complete"
}
python_packages() { # <package>… <folder>
	local folder=${*: -1}
	python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "${@:1:$#-1}"
}
npm_packages() { # [folder]: of the repository, or of a folder of it
	local folder=$root/${1:-.}
	cmp -s "$folder/package-lock.json" "$folder/node_modules/.callboard-lock" && return
	(cd "$folder" && npm ci --no-audit --no-fund >&2)
	cp "$folder/package-lock.json" "$folder/node_modules/.callboard-lock"
}
install_ministack() { install "ministack-$ministack" python_packages "ministack==$ministack" cryptography; }

work=$(mktemp -d)
pids=()
stop() {
	local pid
	trap '' INT TERM # a second Ctrl-C must not leave half of it behind
	for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
	for pid in ${pids[@]+"${pids[@]}"}; do
		for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null && sleep 0.1; done
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

free_ports() { # <number>
	python3 -c '
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
ports = [s.getsockname()[1] for s in sockets]
for s in sockets: s.close()
print(*ports)' "$1"
}

# unused <port> <variable>: ends the script where somebody answers on the port already.
unused() {
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 0
	echo "$0: somebody listens on port $1 of this machine already; choose another one with $2" >&2
	exit 1
}

# start <name> <command…>: in the background, with its output in a file and nothing of the caller's AWS settings.
start() {
	local name=$1
	shift
	(
		cd "$work"
		for variable in $(compgen -e AWS_); do unset "$variable"; done
		export TMPDIR=$work
		exec "$@"
	) >"$work/$name.log" 2>&1 </dev/null &
	pids+=($!)
}

# ready <name> <port> <pid>: waits until somebody answers on the port.
ready() {
	local _
	for _ in $(seq 1800); do
		kill -0 "$3" 2>/dev/null || break
		if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then return; fi
		sleep 0.1
	done
	echo "$1 did not start:" >&2
	tail -n 20 "$work/$1.log" >&2
	exit 1
}
