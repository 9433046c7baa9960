#!/usr/bin/env bash
# The page's tests run in a real browser; say in one line when there is none.
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
echo "slipway: the page's tests need Chromium; on Debian or Ubuntu: apt-get install chromium" >&2
exit 1
