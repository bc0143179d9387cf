package wire

import (
	"encoding/json"
	"errors"
	"os"
	"time"
)

// probePatience is how long a receiver that asks for addresses gets to show that he does not wait for the answer.
const probePatience = 150 * time.Millisecond

// probe is how a receiver asks for a sender's local addresses, before the handshake.
type probe struct {
	Bytes   []byte
	Kind    string
	Version int // of croc v11; a v10 has none
}

// declineProbe tells a receiver that he gets no addresses. The library would run a PAKE for it, which is a second guess
// of the code; receivers take any other answer for a no. One who came before us has given up waiting, and would take
// the answer for something else: what he said next is there already.
func (l *link) declineProbe() error {
	l.SetReadDeadline(time.Now().Add(probePatience))
	_, err := l.r.Peek(1)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	b, err := json.Marshal(probe{Kind: "none"})
	if err != nil {
		return err
	}
	return writeFrame(l, b)
}

// checkProbe fails unless b asks for the sender's addresses: a receiver of croc v10 starts with nothing else.
func checkProbe(b []byte) error {
	var p probe
	m, notMessage := decode(nil, b)
	switch notProbe := json.Unmarshal(b, &p); {
	case notProbe == nil && p.Version != 0, notMessage == nil && m.Version != 0:
		return faultf(OtherVersion, "%s", otherVersion)
	case notProbe == nil && p.Kind == "pake1":
		return nil
	}
	return faultf(Protocol, "the other side does not start as a receiver of croc v10")
}
