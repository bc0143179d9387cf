module github.com/pressenter/pressenter/croc

go 1.26.0

require (
	github.com/schollz/croc/v10 v10.7.0
	github.com/schollz/pake/v3 v3.1.1
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/tscholl2/siec v0.0.0-20240310163802-c2c6f6198406 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)
