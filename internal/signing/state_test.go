package signing

import (
	"testing"
)

func FuzzParseState(f *testing.F) {
	f.Add(State{Height: 5, Round: 2, Step: 3}.encode())
	f.Add([]byte(`{"height":"12","round":0,"step":3,"signature":"AA==","signbytes":"00"}`))
	f.Add([]byte(`{"height":12}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseState(b)
		if err != nil {
			return
		}
		if s.Height < 0 {
			t.Errorf("height %d", s.Height)
		}
		if again, err := ParseState(s.encode()); err != nil || again != s {
			t.Errorf("%+v becomes %+v, %v", s, again, err)
		}
	})
}
