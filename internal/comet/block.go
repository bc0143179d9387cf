package comet

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Flags of a signature in a commit.
const (
	FlagAbsent = 1 // nothing was received from the validator
	FlagCommit = 2 // it signed this block
	FlagNil    = 3 // it signed that it saw no block
)

// Header is the part of a block's header that we use. Hashes and addresses are upper-case hex.
type Header struct {
	ChainID        string    `json:"chain_id"`
	Height         Int       `json:"height"`
	Time           time.Time `json:"time"`
	ValidatorsHash string    `json:"validators_hash"`
	AppHash        string    `json:"app_hash"`
	Proposer       string    `json:"proposer_address"`
	LastBlock      struct {
		Hash string `json:"hash"`
	} `json:"last_block_id"`
}

// Commit is the set of signatures under one block.
type Commit struct {
	Height  Int `json:"height"`
	Round   Int `json:"round"`
	BlockID struct {
		Hash string `json:"hash"`
	} `json:"block_id"`
	Signatures []Signature `json:"signatures"`
}

// Signature is one validator's place in a commit.
type Signature struct {
	Flag      Flag      `json:"block_id_flag"`
	Address   string    `json:"validator_address"`
	Timestamp time.Time `json:"timestamp"`
	Signature []byte    `json:"signature"`
}

// Flag says what a signature in a commit is for; some answers write it as a number and some in words.
type Flag int

// UnmarshalJSON accepts 2, "2" and "BLOCK_ID_FLAG_COMMIT".
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch s := strings.Trim(string(b), `"`); s {
	case "BLOCK_ID_FLAG_ABSENT":
		*f = FlagAbsent
	case "BLOCK_ID_FLAG_COMMIT":
		*f = FlagCommit
	case "BLOCK_ID_FLAG_NIL":
		*f = FlagNil
	default:
		var n Int
		if err := n.UnmarshalJSON(b); err != nil {
			return err
		}
		*f = Flag(n)
	}
	return nil
}

// Signed says whether the validator with this consensus address (hex) signed the very block that c commits. A vote for
// nil is none.
func Signed(c Commit, address string) bool {
	for _, s := range c.Signatures {
		if s.Flag == FlagCommit && len(s.Signature) > 0 && strings.EqualFold(s.Address, address) {
			return true
		}
	}
	return false
}

// SignedHeader is a header with the commit for it.
type SignedHeader struct {
	Header Header `json:"header"`
	Commit Commit `json:"commit"`
	// Canonical: the commit is the one that the next block carries; otherwise it is what this node saw itself.
	Canonical bool `json:"-"`
}

// Commit asks for the header and commit of a height; 0 is the newest.
func (c *Client) Commit(ctx context.Context, height int64) (SignedHeader, error) {
	var j struct {
		SignedHeader SignedHeader `json:"signed_header"`
		Canonical    bool         `json:"canonical"`
	}
	if err := c.get(ctx, "/commit"+heightQuery(height), maxBody, &j); err != nil {
		return SignedHeader{}, fmt.Errorf("read commit %d of node at %q: %w", height, c.URL, err)
	}
	j.SignedHeader.Canonical = j.Canonical
	return j.SignedHeader, nil
}

// Block is the part of a block that we use.
type Block struct {
	Hash       string
	Header     Header
	LastCommit Commit // the signatures under the block before
	Txs        int
	Evidence   int // pieces of evidence of misbehaviour
}

type blockJSON struct {
	BlockID struct {
		Hash string `json:"hash"`
	} `json:"block_id"`
	Block struct {
		Header Header `json:"header"`
		Data   struct {
			Txs []string `json:"txs"`
		} `json:"data"`
		Evidence struct {
			Evidence []any `json:"evidence"`
		} `json:"evidence"`
		LastCommit *Commit `json:"last_commit"`
	} `json:"block"`
}

// Block asks for a block; height 0 is the newest.
func (c *Client) Block(ctx context.Context, height int64) (Block, error) {
	var j blockJSON
	if err := c.get(ctx, "/block"+heightQuery(height), maxBody, &j); err != nil {
		return Block{}, fmt.Errorf("read block %d of node at %q: %w", height, c.URL, err)
	}
	return j.block(), nil
}

func (j blockJSON) block() Block {
	b := Block{
		Hash: j.BlockID.Hash, Header: j.Block.Header,
		Txs: len(j.Block.Data.Txs), Evidence: len(j.Block.Evidence.Evidence),
	}
	if j.Block.LastCommit != nil {
		b.LastCommit = *j.Block.LastCommit
	}
	return b
}
