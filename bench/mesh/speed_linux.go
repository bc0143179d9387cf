package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/netlab"
)

// progress is where everything goes that is no result.
var progress = os.Stderr

func run(ctx context.Context, s settings) error {
	if err := installTools(ctx); err != nil {
		return err
	}
	header()
	parts := strings.Split(s.parts, ",")
	if slices.Contains(parts, "speed") {
		if err := within(func(r *rig) { speed(ctx, r, s) }); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "healing") {
		return healing(ctx, s)
	}
	return nil
}

// header says where the figures come from.
func header() {
	var u unix.Utsname
	_ = unix.Uname(&u)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("# mesh: %d CPUs, Linux %s, %s, load average %s\n", runtime.NumCPU(),
		unix.ByteSliceToString(u.Release[:]), runtime.Version(), strings.TrimSpace(string(load)))
}

// samples are all runs of one contender.
type samples struct {
	gbps, cpu, rtt, shaped []float64
	idle, loaded           float64
}

// The names of our profiles, as results name them.
const (
	oursDefault = "ours"
	oursSmall   = "ours-small"
)

func speed(ctx context.Context, r *rig, s settings) {
	dir, err := os.MkdirTemp("", "pressenter-bench-mesh-")
	r.must(err)
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	stock, version, err := buildWireGuard(ctx)
	r.must(err)
	cloud, err := buildVpnCloud(ctx)
	r.must(err)
	program, err := filepath.Abs(filepath.Join(s.bin, "pressenter"))
	r.must(err)
	lab := netlab.New(r)
	contests := []*contest{
		ours(r, lab, dir, program, oursDefault, defaultProfile...),
		wireGuard(r, lab, stock),
		ours(r, lab, dir, program, oursSmall, smallProfile...),
		vpnCloud(r, lab, dir, cloud),
		tinc(r, lab, dir),
		plain(r, lab),
	}
	fmt.Printf("# beside wireguard-go %s, vpncloud %s, Debian's tinc and plain TCP: one stream\n# values are medians of %d runs of %v, ratios the median of each run's ratio\n", version, vpncloudVersion, s.runs, s.each)
	all := map[string]*samples{}
	for _, t := range contests {
		r.must(t.ready(ctx))
		all[t.name] = &samples{}
	}
	idle(ctx, r, contests, all)
	for i := range s.runs { // one after the other, so that all meet the same machine
		for _, t := range contests {
			m, err := measure(ctx, t, s.each)
			r.must(err)
			fmt.Fprintf(progress, "run %d: %s %.2f Gbit/s, %.2f CPU s/GB\n", i+1, t.name, m.gbps, m.cpuPerGB)
			a := all[t.name]
			a.gbps, a.cpu = append(a.gbps, m.gbps), append(a.cpu, m.cpuPerGB)
		}
	}
	for _, t := range contests {
		all[t.name].loaded, err = t.memory("VmHWM")
		r.must(err)
	}
	shaped(ctx, r, s, contests, all)
	report(all)
}

// trips is how often the round trip is measured; each is a median of many.
const trips = 3

// idle measures what needs a quiet tunnel.
func idle(ctx context.Context, r *rig, contests []*contest, all map[string]*samples) {
	fmt.Fprintln(progress, "measuring idle tunnels")
	r.must(pause(ctx, 2*time.Second))
	for _, t := range contests {
		m, err := t.memory("VmRSS")
		r.must(err)
		all[t.name].idle = m
	}
	for range trips {
		for _, t := range contests {
			us, err := trip(t)
			r.must(err)
			all[t.name].rtt = append(all[t.name].rtt, us)
		}
	}
}

// shapedRate is what the links are shaped to, in bits a second.
const shapedRate = 500_000_000

// shaped measures on links that are shaped at both ends, ours and plain TCP.
func shaped(ctx context.Context, r *rig, s settings, contests []*contest, all map[string]*samples) {
	var ours []*contest
	for _, t := range contests {
		if t.name == oursDefault || t.name == oursSmall || t.name == plainName {
			for _, e := range t.ends {
				e.space.Shape(device, shapedRate)
			}
			ours = append(ours, t)
		}
	}
	for i := range s.runs {
		for _, t := range ours {
			m, err := measure(ctx, t, s.each)
			r.must(err)
			fmt.Fprintf(progress, "shaped run %d: %s %.3f Gbit/s\n", i+1, t.name, m.gbps)
			all[t.name].shaped = append(all[t.name].shaped, m.gbps)
		}
	}
}

// report prints the figures of both profiles.
func report(all map[string]*samples) {
	daemons, everybody := []string{"wireguard-go", "vpncloud", "tinc"}, []string{"wireguard-go", "vpncloud", "tinc", plainName}
	for _, profile := range []struct{ name, suffix string }{{oursDefault, ""}, {oursSmall, "_small"}} {
		for _, f := range []struct {
			name, unit string
			of         func(*samples) []float64
			rivals     []string
		}{
			{"mesh_tcp_gbps", "Gbit/s", func(s *samples) []float64 { return s.gbps }, everybody},
			{"mesh_cpu_s_per_gb", "s/GB", func(s *samples) []float64 { return s.cpu }, daemons},
			{"mesh_rtt_us", "us", func(s *samples) []float64 { return s.rtt }, everybody},
			{"mesh_rss_idle_mb", "MB", func(s *samples) []float64 { return []float64{s.idle} }, daemons},
			{"mesh_rss_loaded_mb", "MB", func(s *samples) []float64 { return []float64{s.loaded} }, daemons},
		} {
			for _, rival := range f.rivals {
				figure(f.name+profile.suffix, f.unit, f.of(all[profile.name]), rival, f.of(all[rival]))
			}
		}
		r := ratio(all[profile.name].shaped, all[plainName].shaped)
		figure("mesh_shaped_500mbit_ratio"+profile.suffix, "x", []float64{r}, plainName, []float64{1})
	}
}

// figure prints one line of a figure and a rival.
func figure(name, unit string, values []float64, rival string, rivals []float64) {
	fmt.Printf("figure %s %.3g %s rival=%s:%.3g ratio=%.3g\n", name, median(values), unit, rival, median(rivals), ratio(values, rivals))
}

// ratio is the median of each run's ratio: both meet the same machine in a run, and perhaps another one in the next.
func ratio(values, rivals []float64) float64 {
	out := make([]float64, len(values))
	for i := range values {
		out[i] = values[i] / rivals[i]
	}
	return median(out)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
