// Command mesh measures the mesh beside its rivals in one run, on links between network namespaces, and prints one line a
// figure and rival:
//
//	figure <name> <value> <unit> rival=<name>:<value> ratio=<x>
//
// It is run by 'make bench-mesh' as root on a quiet Linux machine; nothing in it is a test. It leaves nothing behind.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	bin   string
	runs  int
	each  time.Duration
	parts string
}

func main() {
	log.SetFlags(0)
	var s settings
	flag.StringVar(&s.bin, "bin", "bin", "folder with pressenter")
	flag.IntVar(&s.runs, "runs", 5, "runs of each; the figures are medians")
	flag.DurationVar(&s.each, "each", 3*time.Second, "how long a run's stream lasts, after a second of warming up")
	flag.StringVar(&s.parts, "parts", "speed,healing", "which parts to run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
