package relay

import (
	"bufio"
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// queued is how many frames wait on one link at most. With the kernel's own buffer it outlasts a burst of WireGuard's;
// more would only delay what is lost anyway.
const queued = 256

// batch is how much is written at once, in bytes: one record of TLS.
const batch = 16 << 10

// link is one end of a link: frames wait in out, even before there is a connection.
type link struct {
	ctx   context.Context
	close context.CancelFunc // at once, from any goroutine, more than once
	out   chan held
}

// held is a frame that waits, and the count of those that its sender has waiting; nil where nobody counts.
type held struct {
	frame []byte
	of    *atomic.Int32
}

// leave returns a frame that does not wait any more.
func (w held) leave() []byte {
	if w.of != nil {
		w.of.Add(-1)
	}
	return w.frame
}

func newLink(ctx context.Context) *link {
	ctx, cancel := context.WithCancel(ctx)
	return &link{ctx: ctx, close: cancel, out: make(chan held, queued)}
}

// send queues a datagram and reports whether there was room: the newest is dropped, and nobody waits.
func (l *link) send(member roster.Key, datagram []byte) bool { return l.sendOf(nil, member, datagram) }

// sendOf is send for one of several senders, who may take three quarters of the room at most.
func (l *link) sendOf(of *atomic.Int32, member roster.Key, datagram []byte) bool {
	if l.ctx.Err() != nil || len(l.out) == cap(l.out) {
		return false
	}
	if of != nil && of.Add(1) > queued*3/4 {
		of.Add(-1)
		return false
	}
	w := held{encode(member, datagram), of}
	select {
	case l.out <- w:
		return true
	default:
		w.leave()
		return false
	}
}

// run moves frames over conn until the link is closed or dead. The datagram that receive gets is overwritten when it
// returns. Raw is what conn is built on: closing conn itself would first say goodbye, and wait for that.
func (l *link) run(conn, raw net.Conn, receive func(member roster.Key, datagram []byte)) error {
	stop := context.AfterFunc(l.ctx, func() { raw.Close() })
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer l.close() // which ends the reader
		l.write(conn)
	}()
	err := l.read(conn, receive)
	l.close()
	<-written
	stop()
	raw.Close()
	return err
}

func (l *link) read(conn net.Conn, receive func(roster.Key, []byte)) error {
	r, buf := bufio.NewReaderSize(conn, batch), make([]byte, MaxDatagram)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		member, datagram, err := decode(r, buf)
		if err != nil {
			return err
		}
		if err := l.ctx.Err(); err != nil {
			return err
		}
		receive(member, datagram)
	}
}

// write sends what is queued, and that we are alive: at once, so that the other end knows that it was let in, and then
// from time to time. An end that takes nothing for the time of silence is dead.
func (l *link) write(conn net.Conn) {
	w := bufio.NewWriterSize(patient{conn}, batch)
	beat := time.NewTicker(keepalive)
	defer beat.Stop()
	frame := encode(roster.Key{}, nil)
	for {
		if _, err := w.Write(frame); err != nil {
			return
		}
		for range len(l.out) {
			if _, err := w.Write((<-l.out).leave()); err != nil {
				return
			}
		}
		if err := w.Flush(); err != nil {
			return
		}
		select {
		case <-l.ctx.Done():
			return
		case next := <-l.out:
			frame = next.leave()
		case <-beat.C:
			frame = encode(roster.Key{}, nil)
		}
	}
}

// patient gives each write of a batch the time of silence.
type patient struct{ net.Conn }

func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}
