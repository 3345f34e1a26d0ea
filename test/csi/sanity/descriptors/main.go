// Prints the descriptors of the official Go modules, as a FileDescriptorSet: what our proto/ is compared with.
package main

import (
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range []protoreflect.FileDescriptor{csi.File_csi_proto, (&registration.PluginInfo{}).ProtoReflect().Descriptor().ParentFile()} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	bytes, err := proto.Marshal(set)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(bytes)
}
