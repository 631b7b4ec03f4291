// Command zip makes the archive of a Lambda function: the files of a folder, the same bytes for the same content.
package main

import (
	"archive/zip"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: zip FOLDER ARCHIVE")
		os.Exit(2)
	}
	if err := archive(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "zip:", err)
		os.Exit(1)
	}
}

func archive(folder, path string) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	w := zip.NewWriter(out)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	files, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := add(w, folder, f.Name()); err != nil {
			return err
		}
	}
	return w.Close()
}

// add stores a file without the time and owner it happens to have.
func add(w *zip.Writer, folder, name string) error {
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.SetMode(0o755)
	out, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}
