package comet

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// message holds a protobuf message's fields; of a repeated one the last, as protobuf has it.
type message struct {
	numbers map[protowire.Number]uint64
	bytes   map[protowire.Number][]byte
}

func fields(b []byte) (message, error) {
	m := message{numbers: map[protowire.Number]uint64{}, bytes: map[protowire.Number][]byte{}}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return message{}, fmt.Errorf("decode message: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			m.numbers[num], n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			m.bytes[num], n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return message{}, fmt.Errorf("decode message: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return m, nil
}

// submessage is the message in field 1, where most answers have their content.
func submessage(b []byte) (message, error) {
	outer, err := fields(b)
	if err != nil {
		return message{}, err
	}
	return fields(outer.bytes[1])
}

// timestamp reads a google.protobuf.Timestamp.
func timestamp(b []byte) (time.Time, error) {
	m, err := fields(b)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(m.numbers[1]), int64(m.numbers[2])).UTC(), nil
}
