// Command bench measures what the README claims, beside a rival in the same run, and prints one line a figure:
//
//	figure <name> <value> <unit> rival=<name>:<value> ratio=<x>
//
// It is run by 'make bench-up' on a quiet machine; nothing in it is a test.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/status"
)

func main() {
	log.SetFlags(0)
	bin := flag.String("bin", "bin", "folder with pressenter and practiced")
	runs := flag.Int("runs", 5, "runs of each")
	idle := flag.Duration("idle", 5*time.Minute, "how long the agents are watched")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *runs, *idle); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, bin string, runs int, idle time.Duration) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pressenter-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := bench{bin: bin, dir: dir}
	var ours, bare []float64
	for i := range runs { // one after the other, so that both meet the same machine
		o, parts, err := b.up(ctx, i)
		if err != nil {
			return err
		}
		r, err := b.bare(ctx, i)
		if err != nil {
			return err
		}
		ours, bare = append(ours, o), append(bare, r)
		fmt.Printf("run %d: up %.1f s (%s), bare script %.1f s, ratio %.2f\n", i+1, o, parts, r, o/r)
	}
	figure("up_first_signed_block_s", slices.Max(ours), "s", "bare-script", slices.Max(bare))
	figure("up_first_signed_block_median_s", median(ours), "s", "bare-script", median(bare))
	fmt.Printf("figure up_ratio_worst_run %.2f x\n", worstRatio(ours, bare))
	return b.agents(ctx, idle)
}

func figure(name string, value float64, unit, rival string, rivalValue float64) {
	fmt.Printf("figure %s %.2f %s rival=%s:%.2f ratio=%.2f\n", name, value, unit, rival, rivalValue, value/rivalValue)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func worstRatio(a, b []float64) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, a[i]/b[i])
	}
	return worst
}

type bench struct{ bin, dir string }

// up runs 'pressenter up' with all defaults in an empty folder. It ends when a LastCommit read from another validator
// holds our precommit.
func (b bench) up(ctx context.Context, n int) (seconds float64, parts string, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("up-%d", n), "practice-bench")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, "", err
	}
	cmd := b.pressenter(ctx, dir, "up", "--yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, "", err
	}
	cmd.Stderr = os.Stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	marks := map[string]float64{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		note(marks, lines.Text(), time.Since(begun).Seconds())
	}
	err = cmd.Wait()
	seconds = marks["signed"]
	if destroyErr := b.destroy(dir); err == nil {
		err = destroyErr
	}
	parts = fmt.Sprintf("agents up %.1f, keys born and genesis made %.1f, rosters followed %.1f, signed %.1f", marks["agents"], marks["genesis"], marks["rosters"], marks["signed"])
	return seconds, parts, err
}

func note(marks map[string]float64, line string, at float64) {
	for mark, words := range map[string]string{
		"agents": "start the agent", "genesis": "the genesis", "rosters": "publish roster", "signed": "is signed by",
	} {
		if strings.Contains(line, "✔") && strings.Contains(line, words) {
			marks[mark] = at
		}
	}
}

func (b bench) pressenter(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "pressenter"), args...)
	cmd.Dir = dir
	return cmd
}

func (b bench) destroy(dir string) error {
	ctx := context.Background() // also when we were interrupted
	out, err := b.pressenter(ctx, dir, "destroy", "--name", "practice-bench", "--delete-keys").CombinedOutput()
	if err != nil {
		return fmt.Errorf("destroy: %w: %s", err, out)
	}
	return nil
}

// bareLimit is when a run of the script that never signs is given up.
const bareLimit = 3 * time.Minute

// bare runs the script and watches another validator's commits for our signature.
func (b bench) bare(ctx context.Context, n int) (seconds float64, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("bare-%d", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	port, err := local.NewPorts(dir, nil).Block(12)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("sh", "bench/bare.sh", filepath.Join(b.bin, "practiced"), dir, fmt.Sprint(port))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	var rpc, address string
	if _, err := fmt.Fscan(out, &rpc, &address); err != nil {
		return 0, fmt.Errorf("bare script: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, bareLimit)
	defer cancel()
	client := comet.Client{URL: "http://" + rpc}
	for t := time.NewTicker(100 * time.Millisecond); ; {
		if block, err := client.Block(ctx, 0); err == nil && comet.Signed(block.LastCommit, address) {
			return time.Since(begun).Seconds(), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(begun).Seconds(), fmt.Errorf("bare script: no signature of ours: %w", ctx.Err())
		case <-t.C:
		}
	}
}

// agents watches six idle agents beside six busy nodes.
func (b bench) agents(ctx context.Context, idle time.Duration) error {
	dir := filepath.Join(b.dir, "agents", "practice-bench")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if out, err := b.pressenter(ctx, dir, "up", "--yes").CombinedOutput(); err != nil {
		return fmt.Errorf("up: %w: %s", err, out)
	}
	defer func() { _ = b.destroy(dir) }()
	before, err := b.status(ctx, dir)
	if err != nil {
		return err
	}
	begun := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle):
	}
	after, err := b.status(ctx, dir)
	if err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	var rss, cpu float64
	for name, a := range after {
		rss = max(rss, float64(a.AgentRSS)/1e6)
		cpu = max(cpu, 100*(a.AgentCPU-before[name].AgentCPU)/took)
	}
	fmt.Printf("figure agent_rss_mb %.1f MB goal=50\nfigure agent_cpu_pct %.2f %% goal=1\n", rss, cpu)
	return nil
}

func (b bench) status(ctx context.Context, dir string) (map[string]status.Host, error) {
	out, err := b.pressenter(ctx, dir, "status", "--json").Output()
	var st status.Status
	if jsonErr := json.Unmarshal(out, &st); jsonErr != nil {
		return nil, fmt.Errorf("status: %w: %w", err, jsonErr)
	}
	hosts := map[string]status.Host{}
	for _, d := range st.Deployments {
		for _, h := range d.Hosts {
			hosts[h.Name] = h
		}
	}
	return hosts, nil
}
