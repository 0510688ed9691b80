//go:build tools

// Package consul pins the Consul that the estate builds and runs; there is no code of ours here.
//
// Consul is MPL-licensed before 1.17. Of 1.16.6, 1.15.10, 1.14.11 and 1.14.4, only the last could be built from the
// module proxy with all checksums verified: the go.mod of Consul replaces its submodules by local folders, and for
// the others a published counterpart or its checksum is missing.
package consul

import _ "github.com/hashicorp/consul"
