package provision

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/tofu"
)

// BenchmarkPlan1000Hosts says what of a plan of a thousand hosts is ours, and what is the tool's own.
func BenchmarkPlan1000Hosts(b *testing.B) {
	r := newRig(b, "tofu", "")
	s := fleet("hetzner", 999)
	r.uses(s)
	began := time.Now()
	p, err := r.Plan(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	tool := time.Since(began)
	shown, err := r.ask(b.Context(), "show", "-json", p.file)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(shown))/1e6, "json_MB")
	var ours time.Duration
	var peak float64
	for b.Loop() {
		if err := os.RemoveAll(r.path(mainFile)); err != nil { // so that it is written anew
			b.Fatal(err)
		}
		resetPeak()
		began := time.Now()
		files, err := tofu.Root(s)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.write(files); err != nil {
			b.Fatal(err)
		}
		changes, err := read(bytes.NewReader(shown))
		if err != nil || len(changes) < 4000 {
			b.Fatalf("%d changes, %v", len(changes), err)
		}
		ours = max(ours, time.Since(began))
		peak = max(peak, peakMB())
	}
	figure(b, "plan_1000_hosts_s", ours.Seconds(), "s", "goal", 1)
	figure(b, "plan_1000_hosts_mb", peak, "MB", "goal", 200)
	figure(b, "plan_1000_hosts_tofu_s", tool.Seconds(), "s", "ours", ours.Seconds())
	runtime.KeepAlive(shown)
}

func figure(b *testing.B, name string, value float64, unit, rival string, rivalValue float64) {
	b.Logf("\nfigure %s %.3g %s rival=%s:%.3g ratio=%.2f", name, value, unit, rival, rivalValue, value/rivalValue)
}

// resetPeak and peakMB are about the most memory that this process had, with the plan that it holds for the benchmark.
func resetPeak() {
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // Linux only
}

func peakMB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb)
	return kb / 1024
}
