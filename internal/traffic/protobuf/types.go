// Package protobuf reads protobuf messages off the wire, with the descriptors of
// their types and without. What a message means is the same for the mock, which
// matches calls, for the comparison, which tells them apart, and for the replay,
// which puts live values into them.
package protobuf

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Types are the descriptors of services. A nil Types knows none. In JSON they
// are their descriptor set.
type Types struct {
	files *protoregistry.Files
	set   []byte
}

// MarshalJSON implements [json.Marshaler].
func (t *Types) MarshalJSON() ([]byte, error) { return json.Marshal(t.set) }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Types) UnmarshalJSON(data []byte) error {
	var set []byte
	if err := json.Unmarshal(data, &set); err != nil {
		return err
	}
	read, err := ReadTypes(set)
	if err != nil {
		return err
	}
	if read == nil {
		return errors.New("no descriptor set")
	}
	*t = *read
	return nil
}

// ReadTypes reads a FileDescriptorSet, as protoc --descriptor_set_out
// --include_imports and buf build write it. It returns nil for no bytes.
func ReadTypes(data []byte) (*Types, error) {
	if len(data) == 0 {
		return nil, nil
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil || len(set.File) == 0 {
		return nil, errors.New("not a descriptor set; make one with protoc --include_imports --descriptor_set_out=FILE")
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("the set is not complete (make it with --include_imports): %w", err)
	}
	return &Types{files, data}, nil
}

// Input returns the type of the message that a request to a path holds: the one
// that its Content-Type names, else the one that the method takes. It is nil where
// the descriptors know neither.
func (t *Types) Input(path, contentType string) protoreflect.MessageDescriptor {
	if named := t.named(contentType); named != nil {
		return named
	}
	input, _ := t.Method(path)
	return input
}

// Output does the same for what a path answers.
func (t *Types) Output(path, contentType string) protoreflect.MessageDescriptor {
	if named := t.named(contentType); named != nil {
		return named
	}
	_, output := t.Method(path)
	return output
}

// named returns the type that a Content-Type names, as in
//
//	application/x-protobuf; messageType="shop.Order"
//	application/vnd.google.protobuf; proto=shop.Order
//
// or nil. Several messages behind each other (encoding=delimited) are not one.
func (t *Types) named(contentType string) protoreflect.MessageDescriptor {
	if t == nil || strings.IndexByte(contentType, ';') < 0 {
		return nil
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["encoding"] == "delimited" {
		return nil
	}
	for _, parameter := range [...]string{"messagetype", "proto"} {
		name := strings.TrimPrefix(params[parameter], ".")
		if name == "" {
			continue
		}
		if found, err := t.files.FindDescriptorByName(protoreflect.FullName(name)); err == nil {
			md, _ := found.(protoreflect.MessageDescriptor)
			return md
		}
	}
	return nil
}

// Method returns the types of the messages that a method takes and gives, or nil
// where the descriptors do not know it. The method is named by the last two
// segments of a path, as in gRPC, Connect and Twirp.
func (t *Types) Method(path string) (input, output protoreflect.MessageDescriptor) {
	if t == nil {
		return nil, nil
	}
	path, method, ok := cutLast(path)
	if !ok {
		return nil, nil
	}
	_, service, _ := cutLast(path)
	found, err := t.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, nil
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, nil
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil, nil
	}
	return m.Input(), m.Output()
}

func cutLast(path string) (before, last string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
