package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is the most bytes a config may have.
const MaxSize = 256 << 10

// The YAML library takes time in the square of the lines of a block scalar and of the keys of a mapping, and stack in
// proportion to the nesting. These limits are far above any deployment and keep the worst file well under a second.
const (
	maxLines  = 5000
	maxTokens = 20000
	maxDepth  = 32
)

// position is a place in the text, both numbers from 1, columns in characters.
type position struct{ line, column int }

// nodeKind is what a node is, in the words of the messages.
type nodeKind string

const (
	null    nodeKind = "nothing"
	text    nodeKind = "a string"
	number  nodeKind = "a number"
	boolean nodeKind = "a boolean"
	list    nodeKind = "a list"
	mapping nodeKind = "a mapping"
	strange nodeKind = "something else"
)

// node is a value of the document.
type node struct {
	at     position
	kind   nodeKind
	text   string // of a scalar
	quoted bool
	items  []node // of a list
	pairs  []pair // of a mapping, in the order of the file, duplicates included
}

// pair is one key of a mapping with its value.
type pair struct {
	at    position
	key   string
	value node
}

// guarded is what read returns. The YAML library has panicked on malformed input in many of its versions: whoever edits
// a config must not see a stack trace for it, and a program that watches the file must not die of it.
func (w *walk) guarded(read func() (node, bool)) (root node, ok bool) {
	defer func() {
		if recover() != nil {
			w.report(position{1, 1}, "", "cannot be read as YAML", "")
			root, ok = node{}, false
		}
	}()
	return read()
}

// tree reads src as one YAML document of the plain kind that this file is written in. Each stage (characters, tokens,
// grammar) reports all that it finds and needs the one before it to be sound.
func (w *walk) tree(src []byte) (root node, ok bool) {
	source := strings.ReplaceAll(string(src), "\r\n", "\n")
	if !w.characters(source) {
		return node{}, false
	}
	tokens := lexer.Tokenize(source)
	if !w.tokens(tokens) {
		return node{}, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // we report duplicates ourselves, all of them
	if err != nil {
		w.syntax(err)
		return node{}, false
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			return build(doc.Body), true
		}
	}
	w.report(position{1, 1}, "", "the file is empty", "")
	return node{}, false
}

// characters reports what no config contains: too much, bytes that are not UTF-8 text, tabs outside comments.
func (w *walk) characters(source string) bool {
	start := position{1, 1}
	switch {
	case len(source) > MaxSize:
		w.report(start, "", fmt.Sprintf("larger than %d KiB", MaxSize>>10), "")
		return false
	case strings.HasPrefix(source, "\xff\xfe"), strings.HasPrefix(source, "\xfe\xff"):
		w.report(start, "", "text is UTF-16", "save the file as UTF-8")
		return false
	case strings.HasPrefix(source, "\ufeff"):
		w.report(start, "", "starts with a byte order mark", "save the file as UTF-8 without BOM")
		return false
	}
	before := len(w.problems)
	for i, line := range strings.Split(source, "\n") {
		if i == maxLines {
			w.report(position{i + 1, 1}, "", fmt.Sprintf("more than %d lines", maxLines), "")
			break
		}
		w.line(i+1, line)
	}
	return len(w.problems) == before
}

// line reports the first bad character of a line.
func (w *walk) line(number int, line string) {
	column := 0
	for i, r := range line {
		column++
		at := position{number, column}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(line[i:], "\ufffd"):
			w.report(at, "", "text is not UTF-8", "")
			return
		case r == '\t':
			if line[0] != '#' && !strings.Contains(line[:i], " #") { // not in a comment
				w.report(at, "", "tab", "use spaces")
				return
			}
		case unicode.IsControl(r), r == '\ufeff', r == '\u2028', r == '\u2029':
			w.report(at, "", fmt.Sprintf("control character %U", r), "remove it")
			return
		case unicode.Is(unicode.Bidi_Control, r):
			w.report(at, "", fmt.Sprintf("character %U makes text look other than it is", r), "remove it")
			return
		}
	}
}

// refused are the parts of YAML that a config does without: each makes the file say other than what it shows.
var refused = map[token.Type][2]string{
	token.AnchorType:     {"anchors (&) are not allowed", "write the value out"},
	token.AliasType:      {"aliases (*) are not allowed", "write the value out, or quote it if it is text"},
	token.MergeKeyType:   {"merge keys (<<) are not allowed", "write the keys out"},
	token.TagType:        {"tags (!) are not allowed", "remove it, or quote the value if it is text"},
	token.DirectiveType:  {"directives (%) are not allowed", "remove the line"},
	token.MappingKeyType: {"explicit keys (?) are not allowed", "write key: value"},
	token.LiteralType:    {"block text (|) is not allowed", "write the value on one line"},
	token.FoldedType:     {"block text (>) is not allowed", "write the value on one line"},
}

// tokens reports the tokens that no config contains, more of them than it can need, and deep nesting.
func (w *walk) tokens(tokens token.Tokens) bool {
	before := len(w.problems)
	var nesting nesting
	content, ended := false, false
	for i, t := range tokens {
		at := place(t)
		if i == maxTokens {
			w.report(at, "", fmt.Sprintf("more than %d words and signs", maxTokens), "")
			break
		}
		if why, bad := refused[t.Type]; bad {
			w.report(at, "", why[0], why[1])
		}
		switch t.Type {
		case token.InvalidType: // what follows is guesswork of the lexer
			w.report(at, "", "not YAML: "+t.Error, "")
			return false
		case token.DirectiveType: // what follows is its text
			return false
		case token.DocumentHeaderType, token.DocumentEndType:
			ended = ended || content || t.Type == token.DocumentEndType
			content = true
			continue
		case token.CommentType:
			continue
		}
		if ended {
			w.report(at, "", "a second document", "keep one deployment in the file")
			break
		}
		content = true
		if nesting.add(t) > maxDepth {
			w.report(at, "", fmt.Sprintf("nested more than %d deep", maxDepth), "")
			break
		}
	}
	return len(w.problems) == before
}

// nesting follows how deep tokens are: brackets that are open, and columns of block structure to their left.
type nesting struct {
	brackets int
	columns  []int
}

func (n *nesting) add(t *token.Token) int {
	column := t.Position.Column
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		n.brackets++
	case token.SequenceEndType, token.MappingEndType:
		n.brackets--
	case token.MappingValueType:
		if t.Prev != nil {
			column = t.Prev.Position.Column
		}
		n.indent(column)
	case token.SequenceEntryType:
		n.indent(column)
	}
	return n.brackets + len(n.columns)
}

func (n *nesting) indent(column int) {
	if n.brackets > 0 {
		return
	}
	for len(n.columns) > 0 && n.columns[len(n.columns)-1] >= column {
		n.columns = n.columns[:len(n.columns)-1]
	}
	n.columns = append(n.columns, column)
}

// syntax reports an error of the YAML library.
func (w *walk) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		w.report(position{1, 1}, "", "cannot be read as YAML", "")
		return
	}
	w.report(place(e.GetToken()), "", "not YAML: "+e.GetMessage(), "")
}

// place is where t is; the library leaves it out of some tokens.
func place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// build turns the library's tree into ours.
func build(n ast.Node) node {
	switch n := n.(type) {
	case *ast.MappingNode:
		m := node{kind: mapping, at: place(n.Start)}
		for _, v := range n.Values {
			m.pairs = append(m.pairs, buildPair(v))
		}
		if !n.IsFlowStyle && len(m.pairs) > 0 {
			m.at = m.pairs[0].at
		}
		return m
	case *ast.MappingValueNode:
		p := buildPair(n)
		return node{kind: mapping, at: p.at, pairs: []pair{p}}
	case *ast.SequenceNode:
		l := node{kind: list, at: place(n.Start)}
		for _, v := range n.Values {
			l.items = append(l.items, build(v))
		}
		return l
	case nil:
		return node{kind: null, at: position{1, 1}}
	}
	t := n.GetToken()
	s := node{kind: strange, at: place(t)}
	if t != nil {
		s.text = t.Value
	}
	switch n := n.(type) {
	case *ast.StringNode:
		s.kind, s.text = text, n.Value
		s.quoted = t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		s.kind = number
	case *ast.BoolNode:
		s.kind = boolean
	case *ast.NullNode:
		s.kind = null
	}
	return s
}

func buildPair(v *ast.MappingValueNode) pair {
	key := build(v.Key)
	p := pair{at: key.at, key: key.text, value: build(v.Value)}
	if p.value.kind == null { // the library places an absent value at the next token
		p.value.at = p.at
	}
	return p
}
