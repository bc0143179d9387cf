package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pressenter/pressenter/internal/process"
)

// port is where the stream goes: the only service of members that the mesh lets through.
const port = 26656

// warmUp is how long a stream runs before it counts.
const warmUp = time.Second

// stream is what one TCP connection through a tunnel did.
type stream struct {
	gbps     float64
	cpuPerGB float64 // seconds of both daemons for a gigabyte, per end
}

// measure sends as much as goes through one connection from one end to the other, and watches what the daemons take.
func measure(ctx context.Context, t *contest, each time.Duration) (stream, error) {
	l, err := t.ends[1].space.Listen("tcp", netip.AddrPortFrom(t.ends[1].inside, port).String())
	if err != nil {
		return stream{}, err
	}
	defer l.Close()
	var received atomic.Uint64
	ended := make(chan error, 2)
	go func() { ended <- receive(l, &received) }()
	conn, err := t.dial(ctx, l)
	if err != nil {
		_ = l.Close()
		<-ended
		return stream{}, err
	}
	go func() { ended <- send(conn) }()
	s, err := t.watch(ctx, &received, each)
	_ = conn.Close()
	return s, errors.Join(err, <-ended, <-ended)
}

// dialLimit is when a tunnel that carries nothing is given up.
const dialLimit = 20 * time.Second

// chunk is what the stream's ends read and write at once.
const chunk = 256 << 10

func send(conn net.Conn) error {
	b := make([]byte, chunk)
	for {
		if _, err := conn.Write(b); errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

func receive(l net.Listener, received *atomic.Uint64) error {
	conn, err := l.Accept()
	if err != nil {
		return nil // the sender says why
	}
	defer conn.Close()
	b := make([]byte, chunk)
	for {
		n, err := conn.Read(b)
		received.Add(uint64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return nil // reset: the sender's buffer was not empty when it closed
		}
	}
}

// watch counts what arrives, and what the daemons take for it, after warming up.
func (t *contest) watch(ctx context.Context, received *atomic.Uint64, each time.Duration) (stream, error) {
	if err := pause(ctx, warmUp); err != nil {
		return stream{}, err
	}
	begun, bytes := time.Now(), received.Load()
	cpu, err := t.cpu()
	if err != nil {
		return stream{}, err
	}
	if err := pause(ctx, each); err != nil {
		return stream{}, err
	}
	took, carried := time.Since(begun).Seconds(), float64(received.Load()-bytes)
	after, err := t.cpu()
	if err != nil {
		return stream{}, err
	}
	return stream{
		gbps:     carried * 8 / 1e9 / took,
		cpuPerGB: (after - cpu).Seconds() / 2 / (carried / 1e9),
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// cpu is what both daemons have taken.
func (t *contest) cpu() (sum time.Duration, err error) {
	for _, e := range t.ends {
		if e.daemon == 0 {
			continue
		}
		id, err := process.Of(e.daemon)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", t.name, err)
		}
		u, err := id.Usage()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", t.name, err)
		}
		sum += u.CPU
	}
	return sum, nil
}

// memory is the larger of both daemons' VmRSS or VmHWM (proc(5)), in megabytes.
func (t *contest) memory(field string) (most float64, err error) {
	for _, e := range t.ends {
		if e.daemon == 0 {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.daemon))
		if err != nil {
			return 0, err
		}
		_, rest, found := strings.Cut(string(b), field+":")
		words := strings.Fields(rest)
		if !found || len(words) == 0 {
			return 0, fmt.Errorf("process %d has no %s", e.daemon, field)
		}
		kib, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return 0, err
		}
		most = max(most, kib*1024/1e6)
	}
	return most, nil
}

// trip is the median round trip of small messages on one connection through an idle tunnel, in microseconds.
func trip(t *contest) (float64, error) {
	l, err := t.ends[1].space.Listen("tcp", netip.AddrPortFrom(t.ends[1].inside, port).String())
	if err != nil {
		return 0, err
	}
	defer l.Close()
	conn, err := t.dial(context.Background(), l)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer other.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(onlyWriter{other}, onlyReader{other}) }()
	const messages = 200
	trips, message := make([]float64, 0, messages), make([]byte, 64)
	for range messages {
		at := time.Now()
		if _, err := conn.Write(message); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, message); err != nil {
			return 0, err
		}
		trips = append(trips, float64(time.Since(at).Nanoseconds())/1e3)
	}
	_ = conn.Close()
	<-ended
	return median(trips), nil
}

// These two keep io.Copy from splicing.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// dial connects the first end to a listener at the second.
func (t *contest) dial(ctx context.Context, l net.Listener) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	conn, err := t.ends[0].space.Dial(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("dial through %s: %w", t.name, err)
	}
	return conn, nil
}
