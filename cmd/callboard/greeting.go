package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/callboard/callboard/internal/config"
)

const (
	defaultConfig = "events-config.json"
	defaultState  = ".callboard"
)

// greeting is what a person is told when Callboard answers.
type greeting struct {
	url, config, state string
	first              string // arguments of the send that shows something; "" if there is none
	trace              string // arguments of the command that shows what came of it, without the event
}

// write prints that everything runs, and the commands for the first webhook.
func (g greeting) write(w io.Writer, conf *config.Config) {
	var b strings.Builder
	fmt.Fprintf(&b, "ready %s\n", g.url)
	flags := ""
	if g.state != defaultState {
		flags += " --state " + quote(g.state)
	}
	if g.config != defaultConfig {
		flags += " --config " + quote(g.config)
	}
	program := quote(os.Args[0])
	fmt.Fprintf(&b, "\nIn a second terminal, send the first webhook and look at what comes of it:\n\n")
	if g.first != "" {
		fmt.Fprintf(&b, "  id=$(%s send --wait %s%s)\n", program, g.first, flags)
	} else { // only the program of somebody's own knows how
		fmt.Fprintf(&b, "  id=<x-events-id of the answer of POST %s/events/http/<topic>>\n", g.url)
	}
	if token, ok := readerToken(conf); ok {
		path := quote(filepath.Join(g.state, "secrets", token))
		fmt.Fprintf(&b, "  curl -H \"Authorization: Bearer $(cat %s)\" %s/catalog/entities/by-name/component/default/petstore\n", path, g.url)
		fmt.Fprintf(&b, "  curl -H \"Authorization: Bearer $(cat %s)\" %s/notifications\n", path, g.url)
	}
	fmt.Fprintf(&b, "  %s %s $id\n\n", program, g.trace)
	_, _ = io.WriteString(w, b.String())
}

// firstWebhook returns the arguments of a send that works: without the sample server GitHub's needs a file. There is none
// where nobody but profiles of somebody's own sends.
func firstWebhook(conf *config.Config, sample bool) string {
	from := func(provider string) bool {
		for _, t := range conf.Topics {
			if t.From == provider {
				return true
			}
		}
		return false
	}
	switch {
	case sample && from(config.FromGitHub):
		return "github push"
	case from(config.FromHMAC):
		return "hmac test"
	case from(config.FromQueue):
		return config.FromQueue + " test"
	}
	for _, provider := range slices.Sorted(maps.Keys(providerSamples)) {
		if from(provider) {
			return provider + " " + slices.Sorted(maps.Keys(providerSamples[provider]))[0]
		}
	}
	if !from(config.FromGitHub) && hasCustom(conf) {
		return ""
	}
	return "github push --file PAYLOAD.json"
}

// hasCustom tells whether a topic has a profile of somebody's own.
func hasCustom(conf *config.Config) bool {
	for _, t := range conf.Topics {
		if _, custom := t.CustomProfile(); custom {
			return true
		}
	}
	return false
}

// quote makes one word of the shell of s.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("/._-+=:,@%", c)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// readerToken returns the name of a token with which a person can look at everything.
func readerToken(conf *config.Config) (string, bool) {
	for _, t := range conf.API.Tokens {
		if slices.Contains(t.May, "catalog.read") && slices.Contains(t.May, "notifications.read") && !strings.Contains(t.Secret, ":") {
			return t.Secret, true
		}
	}
	return "", false
}
