#!/usr/bin/env bash
# Checks the include rules of the map (gateway/README.md): deciding code knows no I/O, each library has one home, nothing points back.
# usage: check_includes.sh SOURCE_DIR        prints each breach as FILE:LINE, fails when there is one
set -euo pipefail
cd "$1"
breaches=0

# none FOLDERS PATTERN WHY: no file of the folders includes what matches
none() {
    local found
    # shellcheck disable=SC2086
    found=$(grep -rnE --include='*.hpp' --include='*.cpp' "^#include $2" $1 || true)
    if [ -n "$found" ]; then
        printf '%s\n  breaks: %s\n' "$found" "$3"
        breaches=$((breaches + 1))
    fi
}

# The check can fail: this must be found.
grep -qE '^#include <boost/asio' gateway/net/asio.hpp || { echo "the check looks in the wrong place"; exit 1; }

pure="gateway/message gateway/wire gateway/payload gateway/hub gateway/auth gateway/policy gateway/dialects adapters config"
none "$pure" '<boost/(asio|beast)' "deciding code knows no Asio"
none "$pure" '"(net|upstream|ingress|runtime|telemetry|workers|dispatch)/' "deciding code knows no I/O and nothing above it"
none "$pure" '<(spdlog|CLI)/' "logs and flags stay above"
none "gateway/message" '"(wire|payload|config|policy|auth|dialects)/' "message/ includes nothing of ours"
none "gateway/wire" '"(payload|config|policy|auth|dialects)/' "wire/ knows message/ only"
none "gateway/hub" '"(config|policy|auth|dialects|adapters)/' "hub/ reads what the Hub says and knows no policy"
none "gateway/dialects" '"adapters/' "dialects and adapters never see each other"
none "adapters" '"dialects/' "dialects and adapters never see each other"
none "gateway/dispatch/attempts.cpp gateway/dispatch/standing.cpp gateway/dispatch/cooldowns.cpp gateway/dispatch/slots.cpp gateway/dispatch/waking.cpp" '(<boost/asio|"net/)' "what decides about attempts knows no sockets"
none "gateway/net" '"(upstream|dispatch|ingress|runtime|dialects|adapters|policy)/' "net/ points at nothing above it"
none "gateway/upstream" '"(dispatch|ingress|runtime|dialects|policy|auth)/' "upstream/ points at nothing above it"
none "gateway/dispatch" '"(ingress/|runtime/|dialects/|auth/authenticate)' "dispatch/ points at nothing above it; it only keeps the table of keys"
none "gateway/ingress" '"runtime/' "ingress/ points at nothing above it"
none "gateway/net gateway/upstream gateway/dispatch gateway/ingress gateway/runtime gateway/telemetry gateway/workers gateway/auth gateway/policy gateway/wire gateway/message adapters" '<yaml-cpp/' "yaml-cpp is config/'s"
none "gateway/net gateway/upstream gateway/dispatch gateway/ingress gateway/runtime gateway/telemetry gateway/workers gateway/auth gateway/policy gateway/wire gateway/message config" '<simdjson' "simdjson belongs to payload/, hub/, dialects/ and adapters/"

# Time limits are of the steady clock, so that nobody notices when the machine's clock jumps. The other one is for dates: in records, in answers,
# in what upstreams say about when to come back, in what is told of workers.
dates='gateway/(telemetry/access_record|wire/retry|dispatch/(cooldowns|dispatch|waker)|workers/(supervisor|table|core|core_process)|ingress/(serve|reply)|net/clock)\.[ch]pp'
dates="$dates|adapters/(adapter|classify)\.hpp|gateway/(hub/judge|upstream/hub_client)\.[ch]pp"
found=$(grep -rnE --include='*.hpp' --include='*.cpp' 'wall_clock|system_clock|system_timer|high_resolution_clock|CLOCK_REALTIME|gettimeofday|[^_]time\((nullptr|NULL|0)\)' gateway adapters config |
    grep -vE "^($dates):" || true)
if [ -n "$found" ]; then
    printf '%s\n  breaks: %s\n' "$found" "only dates come from the wall clock"
    breaches=$((breaches + 1))
fi

[ "$breaches" -eq 0 ] && echo "include rules hold"
exit $((breaches > 0))
