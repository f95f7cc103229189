# shellcheck shell=bash
# Makes, in the folder at hand, the template astray_cuda and its space astray_cuda.yaml: the planted faults of tests/data/templates/astray in CUDA.
mkdir astray_cuda
cat "$SOURCE_DIR/tests/gpu/astray_head.cu" "$SOURCE_DIR/tests/data/templates/astray/kernel.cl" >astray_cuda/kernel.cu
sed -e 's/^name:.*/name: astray_cuda/' -e 's/^language:.*/language: cuda/' -e 's/^source:.*/source: kernel.cu/' \
    "$SOURCE_DIR/tests/data/templates/astray/template.yaml" >astray_cuda/template.yaml
sed -e 's/^templates:.*/templates: [astray_cuda]/' "$SOURCE_DIR/tests/data/spaces/astray.yaml" >astray_cuda.yaml
