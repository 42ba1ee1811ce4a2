#!/bin/sh
# pillow-simd is compiled when it is installed: print which headers are missing and the command that installs them.
set -eu

[ "$(uname -m)" = x86_64 ] || exit 0
include=$("${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("include"))')
for compiler in "${CC:-cc}" gcc clang; do
    if command -v "$compiler" >/dev/null 2>&1; then
        for prefix in "" /opt/homebrew /usr/local; do
            if printf '#include <stdio.h>\n#include <jpeglib.h>\n#include <zlib.h>\n#include <Python.h>\n' |
                "$compiler" -E -I"$include" ${prefix:+-I"$prefix/include"} - >/dev/null 2>&1; then
                exit 0
            fi
        done
    fi
done

echo "iptdata needs a C compiler and the headers of Python, libjpeg and zlib, to compile pillow-simd. Install them:" >&2
case "$(uname -s)" in
Darwin) echo "    xcode-select --install; brew install jpeg-turbo zlib" >&2 ;;
*) echo "    sudo apt-get install -y gcc python3-dev python3-venv libjpeg-dev zlib1g-dev" >&2 ;;
esac
exit 1
