// Command pressenter-croc carries one payload between two hosts that share a code, as croc v10 does and compatible with
// it. It is a program of its own, which pressenter starts and watches, so that croc's code and what strangers send it
// stay out of the process that holds keys.
//
// Secrets come on standard input, never as arguments: first a line of JSON, {"code":…,"password":…,"size":…}, then the
// size bytes to send. Standard input stays open for as long as the result is wanted; when it ends the program ends. What
// was received goes to standard output. Standard error is lines of JSON: {"event":…} while it goes well, and at the end
// {"error":KIND,"detail":…} when it does not.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/croc/internal/wire"
)

const usage = `pressenter-croc carries one payload between two hosts that share a code, as croc v10 does.
It is started by pressenter; secrets come on standard input, see the source.

  pressenter-croc code
  pressenter-croc send    -relay HOST:PORT [-wait 15m] [-limit 1m] [-name FILE]
  pressenter-croc receive -relay HOST:PORT [-wait 15m] [-limit 1m] [-max BYTES]
  pressenter-croc relay   -listen HOST:PORT
`

// What is taken at most.
const (
	maxPayload = 4 << 20
	maxHeader  = 4 << 10
	maxWait    = 24 * time.Hour
)

// How the program ends: with 0, with exitUsage for what it was told wrongly, else with exitFailed.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage is the error for what the program was told wrongly.
var errUsage = errors.New("usage")

// header is the first line of standard input.
type header struct {
	Code     string `json:"code,omitempty"`
	Password string `json:"password,omitempty"` // the relay's
	Size     int    `json:"size,omitempty"`     // of what follows
}

// report is a line of standard error.
type report struct {
	Event   string `json:"event,omitempty"`
	Address string `json:"address,omitempty"`
	Error   string `json:"error,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	r := report{Error: string(wire.KindOf(err)), Detail: err.Error()}
	code := exitFailed
	if errors.Is(err, errUsage) {
		r.Error, code = "usage", exitUsage
	}
	tell(os.Stderr, r)
	os.Exit(code)
}

func tell(w io.Writer, r report) {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings only
	}
	w.Write(append(b, '\n'))
}

// job is what one start of the program does.
type job struct {
	relay, listen, name string
	wait, limit         time.Duration
	max                 int
	header              header
	payload             []byte
	events              io.Writer
}

func run(ctx context.Context, args []string, in io.Reader, out, events io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(events, usage)
		return fmt.Errorf("%w: a command is missing", errUsage)
	}
	if args[0] == "code" {
		code, err := wire.NewCode()
		if err == nil {
			_, err = fmt.Fprintln(out, code)
		}
		return err
	}
	j := &job{events: events}
	if err := j.parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	r := bufio.NewReader(in)
	if err := j.read(r); err != nil {
		return fmt.Errorf("%w: standard input: %w", errUsage, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, r) // ends when whoever wants the result is gone
		cancel()
	}()
	switch args[0] {
	case "send":
		return wire.Send(ctx, j.transfer(), j.name, j.payload, j.waiting)
	case "receive":
		payload, err := wire.Receive(ctx, j.transfer(), j.max, j.waiting)
		if err == nil {
			_, err = io.Copy(out, bytes.NewReader(payload))
		}
		return err
	}
	return j.serveRelay(ctx)
}

// parse reads the arguments.
func (j *job) parse(args []string) error {
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.SetOutput(io.Discard)
	switch args[0] {
	case "send":
		f.StringVar(&j.name, "name", "", "")
	case "receive":
		f.IntVar(&j.max, "max", 64<<10, "")
	case "relay":
		f.StringVar(&j.listen, "listen", "", "")
	default:
		return fmt.Errorf("there is no command %q", args[0])
	}
	if args[0] != "relay" {
		f.StringVar(&j.relay, "relay", "", "")
		f.DurationVar(&j.wait, "wait", 15*time.Minute, "")
		f.DurationVar(&j.limit, "limit", time.Minute, "")
	}
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return errors.New("arguments that are no flags; a code comes on standard input")
	}
	return j.check(args[0])
}

// fileName is what may be the name of a file on the other side's computer.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (j *job) check(command string) error {
	address := j.relay
	if command == "relay" {
		address = j.listen
	} else if j.wait <= 0 || j.wait > maxWait || j.limit <= 0 || j.limit > maxWait {
		return errors.New("-wait and -limit are between 0 and 24h")
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%q is not host:port", address)
	}
	if command == "receive" && (j.max < 1 || j.max > maxPayload) {
		return fmt.Errorf("-max is between 1 and %d", maxPayload)
	}
	if j.name != "" && (!fileName.MatchString(j.name) || strings.HasPrefix(j.name, "croc-stdin-")) {
		return fmt.Errorf("%q is not the name of a file", j.name)
	}
	return nil
}

// read reads the header and what is to be sent.
func (j *job) read(r *bufio.Reader) error {
	line, err := readLine(r, maxHeader)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&j.header); err != nil {
		return errors.New("the first line is not the header") // the decoder's words could quote the code
	}
	if j.listen != "" {
		return nil
	}
	if err := wire.CheckCode(j.header.Code); err != nil {
		return err
	}
	n := j.header.Size
	if n < 0 || n > maxPayload || (n == 0) == (j.max == 0) {
		return fmt.Errorf("%d bytes to send, want 1 to %d, and none to receive", n, maxPayload)
	}
	j.payload = make([]byte, n)
	if _, err := io.ReadFull(r, j.payload); err != nil {
		return fmt.Errorf("read what is to be sent: %w", err)
	}
	return nil
}

// readLine reads a line of at most limit bytes.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for len(line) < limit {
		b, err := r.ReadByte()
		if err != nil {
			return nil, fmt.Errorf("read the header: %w", err)
		}
		if b == '\n' {
			return line, nil
		}
		line = append(line, b)
	}
	return nil, fmt.Errorf("the header has more than %d bytes", limit)
}

func (j *job) transfer() wire.Transfer {
	return wire.Transfer{
		Relay: j.relay, Password: j.header.Password, Code: j.header.Code, Wait: j.wait, Limit: j.limit,
	}
}

func (j *job) waiting() { tell(j.events, report{Event: "waiting"}) }

// serveRelay serves a relay until ctx is done.
func (j *job) serveRelay(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", j.listen)
	if err != nil {
		return &wire.Fault{Kind: wire.RelayUnreachable, Err: fmt.Errorf("listen for the relay: %w", err)}
	}
	tell(j.events, report{Event: "listening", Address: l.Addr().String()})
	return (&wire.Relay{Password: j.header.Password}).Serve(ctx, l)
}
