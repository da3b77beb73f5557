// Package shippingpb is what protoc makes of shipping.proto. To make it again,
// install protoc (Debian: protobuf-compiler) and
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
//
// and run go generate.
package shippingpb

//go:generate protoc --include_imports --descriptor_set_out=shipping.protoset shipping.proto
//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative shipping.proto
