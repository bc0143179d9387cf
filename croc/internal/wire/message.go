package wire

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/schollz/croc/v10/src/crypt"
)

// The types of messages that the two sides exchange.
const (
	typePAKE           = "pake"
	typeExternalIP     = "externalip"
	typeFileInfo       = "fileinfo"
	typeRecipientReady = "recipientready"
	typeCloseSender    = "close-sender"
	typeCloseRecipient = "close-recipient"
	typeFinished       = "finished"
	typeError          = "error"
)

// handshake is what a receiver says first, and what a sender waits for.
const handshake = "handshake"

// refusing is the text of an error message by which croc programs know a refusal.
const refusing = "refusing files"

// message is one message between the two sides. Version is of croc v11, which cannot be talked to; a v10 has none.
type message struct {
	Type    string `json:"t,omitempty"`
	Version int    `json:"v,omitempty"`
	Message string `json:"m,omitempty"`
	Bytes   []byte `json:"b,omitempty"`
	Bytes2  []byte `json:"b2,omitempty"`
	Num     int    `json:"n,omitempty"`
}

// fileInfo describes the content; only what we send or look at.
type fileInfo struct {
	Name         string    `json:"n,omitempty"`
	FolderRemote string    `json:"fr,omitempty"`
	Hash         []byte    `json:"h,omitempty"`
	Size         int64     `json:"s,omitempty"`
	ModTime      time.Time `json:"m"`
	Symlink      string    `json:"sy,omitempty"`
	Mode         uint32    `json:"md,omitempty"`
	TempFile     bool      `json:"tf,omitempty"` // a folder in a zip
}

// senderInfo is the content of a fileinfo message.
type senderInfo struct {
	FilesToTransfer        []fileInfo
	EmptyFoldersToTransfer []fileInfo
	TotalNumberFolders     int
	SendingText            bool
	NoCompress             bool
	HashAlgorithm          string
}

// fileRequest is the content of a recipientready message.
type fileRequest struct {
	CurrentFileChunkRanges    []int64
	FilesToTransferCurrentNum int
}

// errSealed is the error for a message that the key does not open: the sides have different keys.
var errSealed = errors.New("message is not encrypted with our key")

// encode returns m as it is sent; key is nil before there is one.
func encode(key []byte, m message) ([]byte, error) {
	plain, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.HuffmanOnly)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if key == nil {
		return b.Bytes(), nil
	}
	return crypt.Encrypt(b.Bytes(), key)
}

// decode reads what encode writes, of at most maxMessage bytes when inflated.
func decode(key, b []byte) (message, error) {
	if key != nil {
		var err error
		if b, err = crypt.Decrypt(b, key); err != nil {
			return message{}, errSealed
		}
	}
	plain, err := inflate(b, maxMessage)
	if err != nil {
		return message{}, err
	}
	var m message
	if err := json.Unmarshal(plain, &m); err != nil {
		return message{}, fmt.Errorf("decode message: %w", err)
	}
	return m, nil
}

// inflate returns at most limit bytes of deflated b, and an error if there are more.
func inflate(b []byte, limit int) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(b))
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	if len(out) > limit {
		return nil, fmt.Errorf("inflate: more than %d bytes", limit)
	}
	return out, nil
}
