package doctor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sourcesOf names a module by what its programs are made of.
func sourcesOf(n *network, module string) string {
	n.Helper()
	h := sha256.New()
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		part := slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(path)) && !strings.HasSuffix(path, "_test.go")
		if d.IsDir() || !part {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", strings.TrimPrefix(path, module), len(b))
		h.Write(b)
		return nil
	})
	if err != nil {
		n.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
