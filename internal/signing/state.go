package signing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// State is CometBFT's priv_validator_state.json, as far as we write and compare it
// (cometbft/privval/file.go, FilePVLastSignState).
type State struct {
	Height int64
	Round  int32
	Step   int8
}

// Before says whether s is older than t: whoever goes on from s may sign once more what was signed at t.
func (s State) Before(t State) bool {
	return cmp.Or(cmp.Compare(s.Height, t.Height), cmp.Compare(s.Round, t.Round), cmp.Compare(s.Step, t.Step)) < 0
}

// stateAt is the sign state from which nothing at a height, or below it, can be signed: its highest round and last step.
func stateAt(floor int64) State {
	if floor == 0 {
		return State{}
	}
	return State{Height: floor, Round: math.MaxInt32, Step: 3}
}

// ReadState reads a priv_validator_state.json.
func ReadState(path string) (State, error) {
	b, err := atomicfile.Read(path, maxFile)
	if err != nil {
		return State{}, err
	}
	return ParseState(b)
}

// ParseState reads the bytes of a priv_validator_state.json, whose height is text in every line of CometBFT.
func ParseState(b []byte) (State, error) {
	var v struct {
		Height *string `json:"height"`
		Round  int32   `json:"round"`
		Step   int8    `json:"step"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return State{}, fmt.Errorf("read sign state: %w", err)
	}
	if v.Height == nil {
		return State{}, errors.New("read sign state: it has no height")
	}
	h, err := strconv.ParseInt(*v.Height, 10, 64)
	if err != nil || h < 0 {
		return State{}, fmt.Errorf("read sign state: height %q is not a height", *v.Height)
	}
	return State{Height: h, Round: v.Round, Step: v.Step}, nil
}

func (s State) encode() []byte {
	return fmt.Appendf(nil, "{\n  \"height\": %q,\n  \"round\": %d,\n  \"step\": %d\n}\n", strconv.FormatInt(s.Height, 10), s.Round, s.Step)
}
