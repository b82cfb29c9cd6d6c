#include "dispatch/classify_transport.hpp"

namespace gw::dispatch {

verdict classify_transport(const failure& what, bool connected, bool head_sent)
{
    verdict is{
        .what = outcome::unavailable,
        .where = scope::upstream,
        .connect_failed = !head_sent,
        .text = what.text,
        .detail = what.detail,
    };
    switch (what.what) {
    case code::timeout:
        is.what = outcome::timeout;
        break;
    case code::upstream_tls:
        is.as_code = code::upstream_tls;
        break;

    // It spoke, but not HTTP as we read it: a fault of what answers for this model, not of the host.
    case code::bad_framing:
    case code::bad_chunk:
    case code::bad_version:
    case code::header_too_large:
        is.where = scope::model_task;
        break;
    case code::upstream_redirect:
    case code::upstream_leak:
        is.where = scope::model_task;
        is.as_code = what.what;
        break;
    case code::overloaded: // we are, not it
        is.where = scope::none;
        is.as_code = code::overloaded;
        break;
    default:
        break;
    }
    if (is.text.empty()) {
        const bool slow = is.what == outcome::timeout;
        if (!connected) {
            is.text = slow ? "the upstream could not be connected to in time"
                           : "the upstream could not be connected to";
        } else {
            is.text = slow ? "the upstream did not answer in time"
                           : "the upstream closed the connection without an answer";
        }
    }
    return is;
}

} // namespace gw::dispatch
