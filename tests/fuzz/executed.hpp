// A body plan carried out over a body that lies in memory.
#pragma once

#include "message/body.hpp"
#include "payload/transcode.hpp"
#include "property.hpp"

#include <string>
#include <string_view>

namespace gw {

// The bytes that the plan sends. A failure only where base64 does not decode; the length is what was
// promised.
inline result<std::string> execute(const body_plan& plan, std::string_view body)
{
    std::string out;
    for (const piece& each : plan.pieces) {
        const byte_range range = each.what == piece::how::literal ? byte_range{} : each.from;
        require(range.begin <= range.end && range.end <= body.size(), "a piece lies inside the body");
        payloads::transcoder worker(each);
        auto done = worker.feed(body.substr(range.begin, range.size()), out);
        if (done) {
            done = worker.finish(out);
        }
        if (!done) {
            require(done.error().what == code::invalid_base64, "a piece is carried out but for bad base64");
            return fail(done);
        }
    }
    require(out.size() == plan.length(), "the length is the one that was promised");
    return out;
}

} // namespace gw
