package provision

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Tool is a program that makes machines.
type Tool struct {
	Name    string // "tofu" or "terraform"
	Path    string
	Version string
}

// Encrypts says whether the tool can encrypt its state.
func (t Tool) Encrypts() bool { return t.Name == "tofu" }

// NoTool says that there is no program to make machines with.
type NoTool struct{ Why string }

// Error implements error.
func (e *NoTool) Error() string { return e.Why }

// Hint says what to do.
func (e *NoTool) Hint() string {
	return "install OpenTofu 1.8 or newer (https://opentofu.org/docs/intro/install/), or Terraform 1.6 or newer"
}

// least are the oldest versions whose event stream and flags are those that are used here.
var least = map[string][2]int{"tofu": {1, 8}, "terraform": {1, 6}}

// Find looks for a program to make machines with: the given one, or else tofu and then terraform in PATH. Where nothing is
// given and nothing is there, OpenTofu is fetched.
func Find(ctx context.Context, given string, f Fetcher) (Tool, error) {
	names := []string{given}
	if given == "" {
		names = []string{"tofu", "terraform"}
	}
	var why []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			why = append(why, fmt.Sprintf("%s is not there", name))
			continue
		}
		t, err := look(ctx, path)
		if err == nil {
			return t, nil
		}
		why = append(why, err.Error())
	}
	if given == "" {
		t, err := f.Get(ctx)
		if err == nil {
			return t, nil
		}
		why = append(why, err.Error())
	}
	return Tool{}, &NoTool{"machines need OpenTofu or Terraform: " + strings.Join(why, "; ")}
}

var banner = regexp.MustCompile(`^(OpenTofu|Terraform) v(\d+)\.(\d+)\.(\S+)`)

// look asks a program what it is.
func look(ctx context.Context, path string) (Tool, error) {
	c := exec.CommandContext(ctx, path, "version")
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "CHECKPOINT_DISABLE=1"}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C reaches it through ctx alone
	out, err := c.Output()
	if ctx.Err() != nil {
		return Tool{}, context.Cause(ctx)
	}
	if err != nil {
		return Tool{}, fmt.Errorf("%s does not tell its version: %w", path, err)
	}
	m := banner.FindStringSubmatch(string(out))
	if m == nil {
		return Tool{}, fmt.Errorf("%s is neither OpenTofu nor Terraform", path)
	}
	t := Tool{Name: map[string]string{"OpenTofu": "tofu", "Terraform": "terraform"}[m[1]], Path: path, Version: m[2] + "." + m[3] + "." + m[4]}
	major, _ := strconv.Atoi(m[2]) // digits
	minor, _ := strconv.Atoi(m[3])
	if want := least[t.Name]; major < want[0] || major == want[0] && minor < want[1] {
		return Tool{}, fmt.Errorf("%s is %s %s, older than %d.%d", path, m[1], t.Version, want[0], want[1])
	}
	return t, nil
}
