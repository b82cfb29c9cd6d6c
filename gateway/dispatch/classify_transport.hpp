// What the failure of a connection means: the verdict where there was no answer to classify. Pure.
#pragma once

#include "message/failure.hpp"
#include "message/outcome.hpp"

namespace gw::dispatch {

//   what        a failure of net/ or upstream/: `timeout` when one of the upstream's own limits ran out,
//   `upstream_tls`,
//               `broken_stream`, else refused, reset, not resolved
//   connected   the connection stood (TCP and TLS)
//   head_sent   a byte of the POST was written: only then is it spent at this upstream
// Never `ok`. Whether the first content had gone out is the attempts machine's knowledge: it turns any of
// these into broken_stream then.
[[nodiscard]] verdict classify_transport(const failure& what, bool connected, bool head_sent);

} // namespace gw::dispatch
