package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/topology"
)

func TestCheckPrograms(t *testing.T) {
	t.Parallel()
	const path = "../events-config.json"
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(t *testing.T, own string) // of the folder of one function
		want   string                         // in the error
	}{
		"as it should be": {func(*testing.T, string) {}, ""},
		"no program":      {func(t *testing.T, own string) { remove(t, filepath.Join(own, "bootstrap")) }, "the function router has no program: run make package"},
		"a script":        {func(t *testing.T, own string) { write(t, filepath.Join(own, "bootstrap"), []byte("#!/bin/sh\n")) }, "the function router has no program"},
		"another machine": {func(t *testing.T, own string) { write(t, filepath.Join(own, "bootstrap"), program(elf.EM_X86_64)) }, "the program of the function router is for another machine than arm64"},
		"no configuration": {
			func(t *testing.T, own string) { remove(t, filepath.Join(own, "events-config.json")) }, "run make package again",
		},
		"another configuration": {
			func(t *testing.T, own string) { write(t, filepath.Join(own, "events-config.json"), []byte("{}")) }, "is not that in " + path,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			fill(t, folder, path, c)
			test.change(t, filepath.Join(folder, topology.Router))
			err := checkPrograms(folder, path, c, "arm64")
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// fill makes what make package makes.
func fill(t *testing.T, folder, path string, c *config.Config) {
	t.Helper()
	top, err := topology.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range top.Functions {
		own := filepath.Join(folder, f.Name)
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(own, "bootstrap"), program(elf.EM_AARCH64))
		write(t, filepath.Join(own, "events-config.json"), data)
	}
}

// program returns the header of a program for a machine.
func program(machine elf.Machine) []byte {
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Ehsize: 64, Shentsize: 64}
	copy(header.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}))
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, header); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
