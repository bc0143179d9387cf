package p2p

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// answerTimeout is how long a node may take to answer. Nodes answer at once.
const answerTimeout = 10 * time.Second

// AskAddresses asks the node which addresses it knows. It keeps the spacing from the last ask on this connection, by waiting.
//
// A node with an address book of up to 32 entries tells all of them; one with more tells 23 %, at least 32 and at most 250,
// drawn anew each time.
func (c *Conn) AskAddresses(ctx context.Context) ([]Address, error) {
	if !c.info.TellsAddresses() {
		return nil, ErrNoPEX
	}
	if !c.last.IsZero() {
		if err := c.serve(ctx, c.last.Add(c.spacing), never); err != nil {
			return nil, fmt.Errorf("wait to ask again: %w", err)
		}
	}
	if !c.asked {
		ask, err := encodeAsk()
		if err != nil {
			return nil, fmt.Errorf("encode ask: %w", err)
		}
		if err := c.write(ctx, ask); err != nil {
			return nil, fmt.Errorf("ask for addresses: %w", err)
		}
		c.asked, c.last = true, time.Now()
	}
	answered := func() bool { return !c.asked }
	if err := c.serve(ctx, time.Now().Add(answerTimeout), answered); err != nil {
		return nil, fmt.Errorf("wait for addresses: %w", err)
	}
	if c.asked {
		return nil, fmt.Errorf("wait for addresses: %s: %w", answerTimeout, ErrSilent)
	}
	return c.answer, nil
}

// Held stays connected for d, and answers the node's pings. The error says why it could not. A node that wants no strangers
// does its handshake with them and then hangs up; only a connection that is held shows that they are welcome.
func (c *Conn) Held(ctx context.Context, d time.Duration) error {
	return c.serve(ctx, time.Now().Add(d), never)
}

func never() bool { return false }

// serve reads what the node sends until done says so, the moment until, or the end of ctx or of the connection. Only the last
// two are errors.
func (c *Conn) serve(ctx context.Context, until time.Time, done func() bool) error {
	release := c.limit(ctx, until)
	defer release()
	for !done() {
		body, err := c.read(maxPacket)
		if err == nil {
			err = c.receive(ctx, body)
		}
		if err == nil {
			continue
		}
		err = lost(ctx, err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		// Nothing that comes after this can be understood.
		c.tcp.Close()
		return err
	}
	return nil
}

// receive takes one packet.
func (c *Conn) receive(ctx context.Context, body []byte) error {
	p, err := decodePacket(body)
	switch {
	case err != nil:
		return err
	case p.ping:
		pong, err := encodePong()
		if err != nil {
			return fmt.Errorf("encode pong: %w", err)
		}
		return c.write(ctx, pong)
	case p.msg == nil, p.msg.ChannelID != int32(ChannelPEX):
		return nil // other channels are none of our business
	}
	if len(c.message)+len(p.msg.Data) > maxMessage {
		return fmt.Errorf("read message of more than %d bytes: %w", maxMessage, ErrTooMuch)
	}
	c.message = append(c.message, p.msg.Data...)
	if !p.msg.EOF {
		return nil
	}
	told, answers, err := decodeAddresses(c.message)
	c.message = nil
	switch {
	case err != nil:
		return err
	case !answers:
		return nil // the node asks us: a stranger knows nobody
	case !c.asked:
		return fmt.Errorf("read addresses that nobody asked for: %w", ErrOdd)
	}
	// The node got the question before it answered: counted from here, the spacing holds by its clock, too.
	c.asked, c.answer, c.last = false, told, time.Now()
	return nil
}

// A Probe is what became of a stranger at one address.
type Probe struct {
	Addr    string        `json:"addr"`
	ID      string        `json:"id,omitempty"`   // the id that the node proved
	Self    string        `json:"self,omitempty"` // the stranger's own id, if it got as far as to say it
	Outcome Outcome       `json:"outcome"`
	Detail  string        `json:"detail,omitempty"`
	Held    time.Duration `json:"held,omitempty"` // how long the node kept it
}

// Knock dials addr as s, and stays for hold if it is let in.
func Knock(ctx context.Context, addr string, s Stranger, hold time.Duration) Probe {
	p := Probe{Addr: addr}
	c, err := Dial(ctx, addr, s)
	if err != nil {
		p.Outcome, p.Detail = OutcomeOf(err), err.Error()
		return p
	}
	defer c.Close()
	p.ID, p.Self = c.info.ID, c.self
	start := time.Now()
	err = c.Held(ctx, hold)
	p.Held, p.Outcome = time.Since(start), OutcomeOf(err)
	if err != nil {
		p.Detail = err.Error()
	}
	return p
}
