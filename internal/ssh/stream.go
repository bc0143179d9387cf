package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// Stream runs a command and makes a connection of its input and output, with deadlines, fit for http.Transport. Close ends
// the command. If the command ends badly, Read says so in place of io.EOF. ctx is for the start only.
func (c *Client) Stream(ctx context.Context, args []string, sudo bool) (net.Conn, error) {
	ours, theirs := net.Pipe()
	alive, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	p, err := c.start(alive, Command{Args: args, Sudo: sudo, Stdin: theirs, Stdout: theirs})
	if !stop() && err == nil {
		p.release()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		ours.Close()
		theirs.Close()
		return nil, err
	}
	s := &stream{Conn: ours, host: c.Host(), ended: make(chan struct{})}
	s.stop = sync.OnceFunc(func() {
		cancel(net.ErrClosed)
		ours.Close()
		<-s.ended
	})
	go func() {
		s.err = p.wait()
		close(s.ended)
		theirs.Close()
	}()
	return s, nil
}

// stream is a command as a connection.
type stream struct {
	net.Conn
	host  string
	stop  func()
	ended chan struct{}
	err   error // set before ended is closed
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		<-s.ended // the other end is closed after this
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

// Write says why the command ended, if it did.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		select {
		case <-s.ended:
			if s.err != nil {
				err = s.err
			}
		default:
		}
	}
	return n, err
}

func (s *stream) Close() error {
	s.stop()
	return nil
}

func (s *stream) RemoteAddr() net.Addr { return hostAddr(s.host) }

// hostAddr names a server where a net.Addr is wanted.
type hostAddr string

func (hostAddr) Network() string  { return "ssh" }
func (a hostAddr) String() string { return string(a) }
