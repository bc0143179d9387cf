package agent

import (
	"bytes"
	"fmt"

	"github.com/pressenter/pressenter/internal/signing"
)

// mark is a second note of how far the consensus key has signed, outside the folder that has the sign state. Whoever
// puts an older signing folder back, in place or from a snapshot, meets it.
type mark struct {
	PublicKey []byte `json:"public_key"`
	Height    int64  `json:"height"`
	Round     int32  `json:"round"` // this and Step are 0 in marks of older programs, which says nothing
	Step      int8   `json:"step"`
}

func (m mark) state() signing.State {
	return signing.State{Height: m.Height, Round: m.Round, Step: m.Step}
}

// markEvery is how many blocks the mark may lag behind the sign state. A roll-back of fewer is caught by the node
// itself, which looks for its own signature in more blocks than that before it signs.
const markEvery = 5

// remember compares an armed key's sign state with the mark, and moves the mark on. A sign state below the mark
// disarms the key.
func (f Folder) remember(st signing.Status) (signing.Status, error) {
	st, m := f.believe(st)
	// What is signed at a height that does not end is in no block, where the node would find it: there the mark follows
	// each vote.
	follows := st.LastHeight == m.Height || st.LastRound > 0
	if st.State != signing.Armed || !m.state().Before(st.Last()) || !follows && st.LastHeight < m.Height+markEvery {
		return st, nil
	}
	return st, writeJSON(f.markFile(), mark{PublicKey: st.PublicKey, Height: st.LastHeight, Round: st.LastRound, Step: st.LastStep})
}

// believe disarms an armed key whose sign state is below its mark, which comes along.
func (f Folder) believe(st signing.Status) (signing.Status, mark) {
	if st.State != signing.Armed {
		return st, mark{}
	}
	m, err := f.mark(st.PublicKey)
	if err != nil {
		return disarm(st, "the mark of what it signed cannot be read: "+err.Error()), m
	}
	if st.Last().Before(m.state()) {
		return disarm(st, fmt.Sprintf("its sign state is at height %d (round %d, step %d), but this host saw it sign %d (%d, %d): an older state was put back; run 'pressenter key arm'",
			st.LastHeight, st.LastRound, st.LastStep, m.Height, m.Round, m.Step)), m
	}
	return st, m
}

// mark reads the mark of a key; the zero mark when there is none of this very key.
func (f Folder) mark(pub []byte) (mark, error) {
	var m mark
	if err := readJSON(f.markFile(), &m); err != nil {
		return mark{}, ignoreMissing(err)
	}
	if !bytes.Equal(m.PublicKey, pub) {
		return mark{}, nil
	}
	return m, nil
}

func (f Folder) markFile() string { return f.path("agent", "mark.json") }

func disarm(st signing.Status, reason string) signing.Status {
	st.State, st.Reason = signing.Disarmed, reason
	return st
}
