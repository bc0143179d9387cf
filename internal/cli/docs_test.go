package cli

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/config"
)

const rootDir = "../.."

// pages are the documents that are checked, by their path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := os.DirFS(rootDir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		inDocs := path == "." || path == "docs" || strings.HasPrefix(path, "docs/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && !inDocs:
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		b, err := fs.ReadFile(root, path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDocsConfigKeys(t *testing.T) {
	b, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s schemaNode
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
	documented := []string{}
	for _, m := range row.FindAllStringSubmatch(pages(t)["docs/config.md"], -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	known := slices.Sorted(maps.Keys(s.keys("")))
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("keys of docs/config.md (-schema +documented):\n%s", diff)
	}
}

// schemaNode is what of a JSON Schema says which keys there are.
type schemaNode struct {
	Properties map[string]schemaNode `json:"properties"`
	Items      *schemaNode           `json:"items"`
	OneOf      []schemaNode          `json:"oneOf"`
}

// keys are the paths of all keys at and below path.
func (s schemaNode) keys(path string) map[string]bool {
	out := map[string]bool{}
	for name, p := range s.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		out[at] = true
		maps.Copy(out, p.keys(at))
	}
	for _, form := range s.OneOf {
		maps.Copy(out, form.keys(path))
	}
	if s.Items != nil {
		maps.Copy(out, s.Items.keys(path+"[]"))
	}
	return out
}

var (
	fenced   = regexp.MustCompile("(?ms)^ *```[^\n]*\n(.*?)^ *```")
	inline   = regexp.MustCompile("`(pressenter [^`]+)`")
	command  = regexp.MustCompile(`(?m)^ *(?:\$ )?(pressenter [^\n]+)`)
	noOption = regexp.MustCompile(`\s#.*|\s*(?:&&|\||;|>).*`) // comments, and what the shell does with it
)

// commandLines are the uses of the program in a page.
func commandLines(page string) []string {
	var out []string
	for _, block := range fenced.FindAllStringSubmatch(page, -1) {
		for _, m := range command.FindAllStringSubmatch(block[1], -1) {
			out = append(out, noOption.ReplaceAllString(m[1], ""))
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		out = append(out, noOption.ReplaceAllString(m[1], ""))
	}
	return out
}

func TestDocsCommands(t *testing.T) {
	seen := 0
	for path, page := range pages(t) {
		for _, line := range commandLines(page) {
			seen++
			if problem := checkCommand(strings.Fields(line)[1:]); problem != "" {
				t.Errorf("%s: %q: %s", path, line, problem)
			}
		}
	}
	if seen == 0 {
		t.Error("no command found in any document")
	}
}

func TestDocsCommandsNegative(t *testing.T) {
	for _, line := range []string{"aply", "key armm", "apply --yess", "key", "status -q", "plan now", "logs"} {
		if checkCommand(strings.Fields(line)) == "" {
			t.Errorf("%q passes", line)
		}
	}
}

// checkCommand says what is wrong with a command line, or "". Values of flags are not looked at.
func checkCommand(args []string) string {
	root := newRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("x")
	c, rest, err := root.Find(args)
	if err != nil {
		return err.Error()
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err.Error()
	}
	switch help := c.Flag("help"); {
	case help != nil && help.Changed, root.Flag("version") != nil && root.Flag("version").Changed:
		return ""
	case !c.Runnable():
		return "it needs a further word"
	}
	return positional(c)
}

func positional(c *cobra.Command) string {
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err.Error()
	}
	return ""
}

func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	for path, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join(rootDir, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: link to %q: %v", path, m[1], err)
			}
		}
	}
}
