#!/usr/bin/env bash
# Print a Python that can run slipway whole, or say in one line what is missing and how to get it.
# The embedded Triton has worker stubs for 3.11 and 3.12 and needs the interpreter's shared library.
set -u
probe='
import os, sys, sysconfig
if sys.version_info[:2] not in ((3, 11), (3, 12)): raise SystemExit(1)
name = sysconfig.get_config_var("INSTSONAME") or ""
places = [sysconfig.get_config_var("LIBDIR") or "", os.path.join("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "")]
if ".so" not in name or not any(os.path.exists(os.path.join(place, name)) for place in places): raise SystemExit(2)
print(sys.executable)
'
unshared=""
for candidate in ${PYTHON:-python3.11 python3.12 python3 "$HOME"/.pyenv/versions/3.11.*/bin/python3 "$HOME"/.pyenv/versions/3.12.*/bin/python3}; do
  found=$("$candidate" -c "$probe" 2>/dev/null) && { echo "$found"; exit 0; }
  [ $? -eq 2 ] && unshared="$candidate"
done
if [ -n "$unshared" ]; then
  echo "slipway: $unshared has no shared library, which Triton's Python workers need; on Debian or Ubuntu: apt-get install libpython3.11 (or build Python with --enable-shared)" >&2
else
  echo "slipway: no Python 3.11 or 3.12 was found; on Debian 12: apt-get install python3.11 python3.11-venv libpython3.11 (or set PYTHON=/path/to/python)" >&2
fi
exit 1
