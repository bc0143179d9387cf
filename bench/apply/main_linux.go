// Command apply measures how long it takes from bare servers to a validator that signs, on the hosts of a lab, and how
// long when nothing is left to do. It needs root on Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/lab"
)

func main() {
	bin := flag.String("bin", "bin", "folder of the programs")
	hosts := flag.Int("hosts", 6, "servers: one for the validator, the rest for sentries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *bin, *hosts); err != nil {
		fmt.Fprintln(os.Stderr, "bench apply:", err)
		os.Exit(1)
	}
}

// operator is somebody with servers: a folder, and a home in which SSH knows the way.
type operator struct{ exe, home, dir string }

func (o operator) runs(ctx context.Context, args ...string) (string, time.Duration, error) {
	c := exec.CommandContext(ctx, o.exe, args...)
	c.Dir, c.Env = o.dir, []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	begun := time.Now()
	out, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), time.Since(begun), err
}

func measure(ctx context.Context, bin string, n int) (err error) {
	exe, err := filepath.Abs(filepath.Join(bin, "pressenter"))
	if err != nil {
		return err
	}
	base, err := os.MkdirTemp("", "pressenter-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	l, err := lab.Start(ctx, lab.Options{Hosts: n})
	if err != nil {
		return err
	}
	defer l.Close()
	o := operator{exe, filepath.Join(base, "home"), filepath.Join(base, "bench")}
	if err := o.prepare(l); err != nil {
		return err
	}
	out, took, err := o.runs(ctx, "apply", "--yes")
	defer func() {
		if _, _, e := o.runs(context.WithoutCancel(ctx), "destroy", "--name", "bench"); err == nil {
			err = e
		}
	}()
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%d bare servers (Debian 12) to the first signed block; load %s\n", n, strings.Fields(string(load))[0])
	phases(out)
	fmt.Printf("figure apply_%d_hosts_s %.1f s rival=k0sctl-2-nodes:122.0 ratio=%.2f\n", n, took.Seconds(), took.Seconds()/122)
	out, took, err = o.runs(ctx, "apply", "--yes")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "no changes") {
		return fmt.Errorf("the second apply had something to do:\n%s", out)
	}
	fmt.Printf("figure apply_noop_s %.2f s\n", took.Seconds())
	return nil
}

// prepare writes the config, and an SSH config that leads to the lab.
func (o operator) prepare(l *lab.Lab) error {
	d := config.Practice("bench")
	d.Provider, d.Sentries = config.ProviderSSH, nil
	for i, h := range l.Hosts() {
		if i == 0 {
			d.Validator.Address = h.Name
			continue
		}
		d.Sentries = append(d.Sentries, config.Sentry{Name: fmt.Sprintf("s%d", i), Machine: config.Machine{Address: h.Name}})
	}
	b, err := config.Render(d)
	if err != nil {
		return err
	}
	known, err := os.ReadFile(l.SSHConfig)
	if err != nil {
		return err
	}
	for path, text := range map[string][]byte{
		filepath.Join(o.dir, "pressenter.yaml"): b, filepath.Join(o.home, ".ssh", "config"): known,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// done is a line of progress: when a step had ended, and which.
var done = regexp.MustCompile(`^\s*([0-9.]+)s ✔ [^:]+: (create host|start the agent|enrol|make the genesis|give|publish|wait)`)

// phases prints when the last step of each kind had ended.
func phases(out string) {
	var order []string
	last := map[string]float64{}
	for line := range strings.Lines(out) {
		m := done.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		if _, seen := last[m[2]]; !seen {
			order = append(order, m[2])
		}
		last[m[2]] = max(last[m[2]], at)
	}
	before := 0.0
	for _, kind := range order {
		fmt.Printf("  %-18s %6.1f s, at %6.1f s\n", kind, max(0, last[kind]-before), last[kind])
		before = max(before, last[kind])
	}
}
