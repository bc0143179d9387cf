package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
)

// stubborn is a program that is asked to end and does not. This test binary runs it when it is called so.
func stubborn() {
	ctx, _ := untilSignal(context.Background(), os.Stderr)
	fmt.Println("up")
	<-ctx.Done()
	code, _ := interrupted(ctx)
	fmt.Println("asked to end with", code)
	select {}
}

const stubbornName = "stubborn"

// The first Ctrl-C asks, the second ends. What machines send again and again asks only.
func TestSignals(t *testing.T) {
	for first, code := range map[syscall.Signal]string{syscall.SIGINT: "130", syscall.SIGTERM: "143", syscall.SIGHUP: "129"} {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(exe)
		c.Args = []string{stubbornName}
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		lines := bufio.NewScanner(out)
		send := func(signals ...syscall.Signal) {
			for _, s := range signals {
				if err := c.Process.Signal(s); err != nil {
					t.Fatalf("%v: it ended before it was interrupted: %v", first, err)
				}
			}
		}
		hears := func(want string) {
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("%v: it says %q, want %q", first, lines.Text(), want)
			}
		}
		hears("up")
		send(first)
		hears("asked to end with " + code)
		send(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		err = c.Wait()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 130 || !strings.Contains(stderr.String(), "interrupted again") {
			t.Errorf("%v, then Ctrl-C: %v, %s", first, err, &stderr)
		}
	}
}

// Somebody who is asked something may press Ctrl-C instead.
func TestInterruptedQuestion(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	var got error
	c := &cobra.Command{RunE: func(c *cobra.Command, _ []string) error {
		cancel(signaled{syscall.SIGINT})
		_, got = confirm(c, "Do this?", true)
		return got
	}}
	c.SetArgs(nil)
	c.SetIn(in)
	c.SetOut(io.Discard)
	c.SetErr(io.Discard)
	if err := c.ExecuteContext(ctx); !errors.As(err, &signaled{}) {
		t.Errorf("err %v", err)
	}
	var said strings.Builder
	explain(&said, got)
	if !strings.Contains(said.String(), "hint: interrupted") {
		t.Errorf("it says %s", &said)
	}
}

func TestInterruptedApplySaysWhatIsDone(t *testing.T) {
	for done, want := range map[int]string{0: "before the first of 9 steps", 4: "after 4 of 9 steps"} {
		var said strings.Builder
		explain(&said, &apply.Interrupted{Done: done, Steps: 9, Err: context.Canceled})
		if !strings.Contains(said.String(), want) || !strings.Contains(said.String(), "hint: run 'pressenter apply' to go on where it stopped") {
			t.Errorf("it says %s", &said)
		}
	}
}
