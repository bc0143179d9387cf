package pressenter

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pressenter/pressenter/"

// layers lists every package, lowest first. A package may import only packages of lower layers: data flows down the
// list, calls go up it.
var layers = [][]string{
	{
		"internal/atomicfile", "internal/comet", "internal/config", "internal/croc", "internal/daemon", "internal/health",
		"internal/lab", "internal/netlab", "internal/p2p", "internal/price", "internal/process", "internal/roster", "internal/share",
		"internal/ssh/sshtest", "internal/systemd", "internal/tunnel", "internal/underlay", "internal/vmlab", "tofu",
	},
	{"internal/access", "internal/api", "internal/ssh"},
	{
		"internal/genesis", "internal/hiding", "internal/keyring", "internal/machine", "internal/node", "internal/provision",
		"internal/relay", "internal/rosterdir", "internal/signing", "internal/supervisor", "internal/vpncloud",
		"internal/wireguard",
	},
	{"internal/adopt", "internal/invite", "internal/mesh"},
	{"internal/meshrun"},
	{"internal/agent", "internal/deployment"},
	{"internal/takeover"},
	{"internal/local", "internal/plan", "internal/remote"},
	{"internal/apply", "internal/doctor", "internal/status"},
	{"internal/cli"},
	{"cmd/pressenter", "bench", "bench/apply", "bench/mesh", "e2e", "e2e/vmguest", "lab"},
}

// walls are packages that must not be reached, even through others.
var walls = map[string][]string{
	// A host never sees the operator's document, nor what decides or does on the operator's side.
	"internal/agent":      {"tofu", "internal/config", "internal/deployment", "internal/plan", "internal/apply", "internal/genesis", "internal/p2p"},
	"internal/supervisor": {"internal/config", "internal/keyring", "internal/signing", "internal/roster"},
	"internal/status":     {"internal/keyring"},
	"internal/plan":       {"internal/keyring", "internal/agent", "internal/supervisor"},
}

// alone are packages that depend on nothing of ours but what is named: they can be read and judged by themselves.
var alone = map[string][]string{
	"internal/signing": {"internal/atomicfile"},
	"internal/keyring": {"internal/atomicfile"},
	"internal/roster":  nil,
	"internal/p2p":     nil,
	"tofu":             nil,
}

// pure packages decide and never act.
var (
	pure   = []string{"internal/config", "internal/roster", "internal/plan", "internal/health", "internal/price", "tofu"}
	impure = []string{"os", "os/exec", "os/signal", "net", "net/http", "log/slog", "syscall", "golang.org/x/sys/unix"}
)

// only says which single package, with those below it, may import a library.
var only = map[string]string{
	"github.com/spf13/cobra":        "internal/cli",
	"charm.land/":                   "internal/cli",
	"golang.org/x/term":             "internal/cli",
	"github.com/creachadair/":       "internal/node",
	"filippo.io/age":                "internal/keyring",
	"github.com/cometbft/cometbft/": "internal/p2p",
	"github.com/goccy/go-yaml":      "internal/config",
	"golang.org/x/crypto/ssh":       "internal/ssh",
	"golang.zx2c4.com/":             "internal/wireguard",
	"gvisor.dev/":                   "internal/wireguard",
}

// never are libraries that no package reaches: the chain application and a node's inner parts are other programs.
var never = []string{
	"github.com/cosmos/cosmos-sdk", "cosmossdk.io/", module + "chain",
	"github.com/cometbft/cometbft/abci", "github.com/cometbft/cometbft/consensus", "github.com/cometbft/cometbft/node",
	"github.com/cometbft/cometbft/privval", "github.com/cometbft/cometbft/rpc", "github.com/cometbft/cometbft/state",
}

// nameless are names that say nothing about what a package provides.
var nameless = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "manager", "base", "core"}

const (
	maxFile     = 600
	maxFunction = 80
)

type pkg struct {
	Dir, ImportPath string
	GoFiles         []string
	Imports, Deps   []string
}

func TestLayout(t *testing.T) {
	depth := map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			depth[p] = i
		}
	}
	for _, p := range list(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		if from+"/" == module || len(p.GoFiles) == 0 {
			continue // tests only
		}
		if _, ok := depth[from]; !ok {
			t.Errorf("%s is in no layer: add it to layers, or fold it into a package that is", from)
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours && depth[to] >= depth[from] {
				t.Errorf("%s must not import %s (layer %d → %d)", from, to, depth[from], depth[to])
			}
			if slices.Contains(pure, from) && slices.Contains(impure, imp) {
				t.Errorf("%s is pure and must not import %s", from, imp)
			}
			for lib, home := range only {
				if strings.HasPrefix(imp, lib) && from != home && !strings.HasPrefix(from, home+"/") {
					t.Errorf("%s must not import %s: only %s may", from, imp, home)
				}
			}
		}
		checkDeps(t, from, p.Deps)
		if slices.Contains(nameless, filepath.Base(from)) {
			t.Errorf("%s: name a package for what it provides", from)
		}
		checkSource(t, from, p)
	}
}

func checkDeps(t *testing.T, from string, deps []string) {
	t.Helper()
	allowed, isAlone := alone[from]
	for _, dep := range deps {
		to, ours := strings.CutPrefix(dep, module)
		if ours && (slices.Contains(walls[from], to) || isAlone && !slices.Contains(allowed, to)) {
			t.Errorf("%s must not depend on %s", from, to)
		}
		for _, lib := range never {
			if dep == lib || strings.HasPrefix(dep, strings.TrimSuffix(lib, "/")+"/") {
				t.Errorf("%s must not depend on %s", from, dep)
			}
		}
	}
}

// acting are calls that only the command line may make, by package and prefix.
var acting = map[string][]string{
	"os":     {"Exit"},
	"fmt":    {"Print"},
	"signal": {"Notify"},
	"log":    {"Print", "Fatal", "Panic"},
}

func checkSource(t *testing.T, from string, p pkg) {
	t.Helper()
	docs, set := 0, token.NewFileSet()
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			docs++
		}
		if n := set.File(f.Pos()).LineCount(); n > maxFile {
			t.Errorf("%s/%s has %d lines, at most %d", from, name, n, maxFile)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if lines := set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1; lines > maxFunction {
					t.Errorf("%s: func %s has %d lines, at most %d", set.Position(n.Pos()), n.Name.Name, lines, maxFunction)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && strings.HasPrefix(from, "internal/") && from != "internal/cli" {
					for _, call := range acting[x.Name] {
						if strings.HasPrefix(n.Sel.Name, call) {
							t.Errorf("%s: %s.%s is the command line's to call", set.Position(n.Pos()), x.Name, n.Sel.Name)
						}
					}
				}
			}
			return true
		})
	}
	if docs != 1 {
		t.Errorf("%s has %d package comments, want 1", from, docs)
	}
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,GoFiles,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var ps []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}
