// Command zip makes the archives of Lambda functions: for each FOLDER its files, in FOLDER.zip beside it. The same content
// gives the same bytes.
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: zip FOLDER...")
		os.Exit(2)
	}
	errs := make([]error, len(os.Args)-1)
	var archives sync.WaitGroup
	for i, folder := range os.Args[1:] {
		archives.Go(func() { errs[i] = archive(folder, folder+".zip") })
	}
	archives.Wait()
	if err := errors.Join(errs...); err != nil {
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
