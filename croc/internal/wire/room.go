package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// seat is a link that waits for another of its room.
type seat struct {
	conn    net.Conn
	partner net.Conn      // under the relay's lock; set once there is one
	joined  chan struct{} // closed when the partner knows that he is in the room
	over    chan struct{} // closed when nothing goes through the room any more
}

// newSeat is made before anybody can join: who does sets another deadline, to wake who waits, and that must stay the last.
func newSeat(conn net.Conn) *seat {
	conn.SetDeadline(time.Now().Add(waitingTime))
	return &seat{conn: conn, joined: make(chan struct{}), over: make(chan struct{})}
}

// wait keeps a seat until somebody joins it, and then the room until both have left. What the first says early is kept
// for the second. It reads all the time: one who left must not be who the second meets.
func (r *Relay) wait(room string, s *seat) {
	defer close(s.over)
	var early []byte
	buf := make([]byte, maxStranger)
	for len(early) <= maxEarly {
		n, err := s.conn.Read(buf)
		early = append(early, buf[:n]...)
		if err == nil {
			continue
		}
		partner := r.leave(room, s)
		if partner != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			<-s.joined
			splice(s.conn, early, partner)
		}
		return
	}
	r.leave(room, s)
}

// leave takes a seat out of its room unless somebody joined it, and returns who did.
func (r *Relay) leave(room string, s *seat) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.partner == nil {
		delete(r.rooms, room)
	}
	return s.partner
}

// join seats conn with the first of its room, until both have left.
func (r *Relay) join(first *seat, conn net.Conn, key []byte) {
	if say(conn, key, "ok") != nil {
		conn.Close()
	}
	first.conn.SetReadDeadline(time.Unix(1, 0)) // wakes who waits there; the next deadline is his
	close(first.joined)
	<-first.over
}

// splice passes on what a and b say, after what a said early, until both are silent.
func splice(a net.Conn, early []byte, b net.Conn) {
	until := time.Now().Add(roomTime)
	a.SetDeadline(until)
	b.SetDeadline(until)
	if _, err := b.Write(early); err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { pass(b, a) })
	wg.Go(func() { pass(a, b) })
	wg.Wait()
}

// pass passes on what from says. Where that ends in order, to may finish what it says; else both are cut.
func pass(to, from net.Conn) {
	_, err := io.CopyN(to, from, maxThrough)
	half, ok := to.(interface{ CloseWrite() error })
	if errors.Is(err, io.EOF) && ok && half.CloseWrite() == nil {
		to.SetDeadline(time.Now().Add(leavingTime)) // then the room is free again
		return
	}
	to.Close()
	from.Close()
}
