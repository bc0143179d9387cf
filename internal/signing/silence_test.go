package signing

import (
	"math"
	"testing"
)

func TestFloor(t *testing.T) {
	for name, tt := range map[string]struct {
		known int64
		p     Proof
		want  int64 // 0: refused
	}{
		"enough":              {100, Proof{101, 130, 0}, 130},
		"one block short":     {100, Proof{101, 129, 0}, 0},
		"signed at its start": {100, Proof{101, 130, 101}, 0},
		"signed at its end":   {100, Proof{101, 130, 130}, 0},
		"signed before it":    {100, Proof{101, 130, 100}, 0},
		"signed after it":     {100, Proof{101, 130, 131}, 0},
		"begins at the mark":  {101, Proof{101, 130, 0}, 0},
		"mark in the midst":   {110, Proof{101, 130, 0}, 0},
		"mark beyond":         {1000, Proof{101, 130, 0}, 0},
		"no watch":            {0, Proof{}, 0},
		"backwards":           {0, Proof{130, 101, 0}, 0},
		"from zero":           {0, Proof{0, 130, 0}, 0},
		"negative":            {0, Proof{-40, 130, 0}, 0},
		"to the end of time":  {0, Proof{1, math.MaxInt64, 0}, 0},
		"negative signature":  {0, Proof{1, 40, -3}, 0},
		"nothing known of it": {0, Proof{1, 30, 0}, 30},
	} {
		got, err := Floor(tt.known, tt.p)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tt.want)
		}
	}
}
