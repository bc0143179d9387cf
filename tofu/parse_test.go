package tofu

import (
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// tree is one embedded folder of .tf files, parsed: its blocks by type.
type tree struct {
	dir    string // modules/hetzner
	blocks []*hclsyntax.Block
	src    map[string][]byte
}

func (x tree) cloud() string { return path.Base(x.dir) }

func (x tree) all(kind string) (found []*hclsyntax.Block) {
	for _, b := range x.blocks {
		if b.Type == kind {
			found = append(found, b)
		}
	}
	return found
}

// text is the source of an expression.
func (x tree) text(e hcl.Expression) string {
	r := e.Range()
	return string(r.SliceBytes(x.src[r.Filename]))
}

func parse(t *testing.T, dir string) tree {
	t.Helper()
	x := tree{dir: dir, src: map[string][]byte{}}
	entries, err := fs.ReadDir(embedded, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if !strings.HasSuffix(name, ".tf") {
			t.Errorf("%s is embedded and is no configuration", name)
		}
		src, err := embedded.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		x.src[name] = src
		x.blocks = append(x.blocks, f.Body.(*hclsyntax.Body).Blocks...)
	}
	return x
}

// trees are all folders of one kind.
func trees(t *testing.T, kind string) (found []tree) {
	t.Helper()
	entries, err := fs.ReadDir(embedded, kind)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, parse(t, path.Join(kind, e.Name())))
	}
	if len(found) == 0 {
		t.Fatalf("nothing is in %s", kind)
	}
	return found
}

// name is how messages call a block: modules/hetzner hcloud_server.host.
func (x tree) name(b *hclsyntax.Block) string { return x.dir + " " + strings.Join(b.Labels, ".") }

// inner are all blocks within a body, those of dynamic blocks under the name of the block they make.
func inner(b *hclsyntax.Body) (blocks []*hclsyntax.Block) {
	for _, in := range b.Blocks {
		if in.Type == "dynamic" {
			for _, content := range in.Body.Blocks {
				blocks = append(blocks, &hclsyntax.Block{Type: in.Labels[0], Body: content.Body})
			}
			continue
		}
		blocks = append(blocks, in)
	}
	return blocks
}

// settings of a resource that are the tool's own and not the provider's.
var meta = []string{"for_each", "count", "depends_on", "provider", "lifecycle"}
