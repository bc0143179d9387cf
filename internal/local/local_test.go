package local

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
)

func TestPorts(t *testing.T) {
	a, b := NewPorts("/one", nil), NewPorts("/one", nil)
	first, err := a.Next()
	must(t, err)
	if again, err := b.Next(); err != nil || again != first {
		t.Errorf("the same seed gives %s and %s, %v", first, again, err)
	}
	seen := map[string]bool{first: true}
	for range 50 {
		p, err := a.Next()
		must(t, err)
		if seen[p] || !Free(p) {
			t.Errorf("%s: handed out before, or not free", p)
		}
		seen[p] = true
		_, port, err := net.SplitHostPort(p)
		must(t, err)
		if n, err := strconv.Atoi(port); err != nil || n < firstPort || n >= lastPort {
			t.Errorf("port %s", port)
		}
	}
}

func TestPortsSkipWhatIsTaken(t *testing.T) {
	first, err := NewPorts("/two", nil).Next()
	must(t, err)
	l, err := net.Listen("tcp", first)
	must(t, err)
	if p, err := NewPorts("/two", nil).Next(); err != nil || p == first {
		t.Errorf("%s is in use, and handed out: %v", p, err)
	}
	must(t, l.Close())
	_, port, err := net.SplitHostPort(first)
	must(t, err)
	n, err := strconv.Atoi(port)
	must(t, err)
	if p, err := NewPorts("/two", []int{n}).Next(); err != nil || p == first {
		t.Errorf("%s is another host's, and handed out: %v", p, err)
	}
	all := make([]int, 0, lastPort-firstPort)
	for i := firstPort; i < lastPort; i++ {
		all = append(all, i)
	}
	if p, err := NewPorts("/two", all).Next(); err == nil {
		t.Errorf("none is left, and %s is handed out", p)
	}
}

func TestHostComesAndGoes(t *testing.T) {
	root := t.TempDir()
	p, h := Provider{}, deployment.Host{Name: "v", Folder: filepath.Join(root, "hosts", "v")}
	if there(t, p, h) {
		t.Error("it is there before it is made")
	}
	must(t, p.Create(t.Context(), h))
	must(t, p.Create(t.Context(), h))
	if info, err := os.Stat(h.Folder); err != nil || info.Mode().Perm() != 0o700 || !there(t, p, h) {
		t.Errorf("%v, %v", info, err)
	}
	for range 2 { // a key of the same name that was kept before is not written over
		must(t, os.MkdirAll(filepath.Join(h.Folder, "signing"), 0o700))
		must(t, os.MkdirAll(filepath.Join(h.Folder, "agent"), 0o700))
		must(t, os.WriteFile(filepath.Join(h.Folder, "signing", "consensus_key.json"), []byte("key"), 0o600))
		must(t, p.Destroy(t.Context(), h, filepath.Join(root, "kept", "v")))
		if there(t, p, h) {
			t.Error("it is still there")
		}
	}
	kept, err := filepath.Glob(filepath.Join(root, "kept", "*", "consensus_key.json"))
	if err != nil || len(kept) != 2 {
		t.Errorf("kept %v, %v", kept, err)
	}
	must(t, p.Destroy(t.Context(), h, "")) // and again, when nothing is left
	must(t, p.Create(t.Context(), h))
	must(t, os.MkdirAll(filepath.Join(h.Folder, "signing"), 0o700))
	must(t, p.Destroy(t.Context(), h, ""))
	if kept, _ := filepath.Glob(filepath.Join(root, "kept", "*")); len(kept) != 2 {
		t.Errorf("kept %v although told not to", kept)
	}
}

func TestFileInTheWay(t *testing.T) {
	h := deployment.Host{Name: "v", Folder: filepath.Join(t.TempDir(), "v")}
	must(t, os.WriteFile(h.Folder, nil, 0o600))
	if err := (Provider{}).Create(t.Context(), h); err == nil {
		t.Error("made")
	}
}

func there(t *testing.T, p Provider, h deployment.Host) bool {
	t.Helper()
	exists, err := p.Exists(t.Context(), h)
	must(t, err)
	return exists
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
