// Takes the task's output out of a JSON answer: a value by its place, or the image or audio that it holds as
// base64. Pure; answers come from strangers, so nothing is believed that was not looked at.
#pragma once

#include "adapters/adapter.hpp"

#include <optional>
#include <string>

namespace gw::adapters {

struct output
{
    body_plan body;     // ranges of the answer
    bool bytes = false; // decoded; else JSON
    std::string
        media_type; // `application/json`, or what the bytes are; `application/octet-stream` when not known
    std::string problem; // why there is none; safe to show. Then nothing else is set
};

// pointer   where the operator said it is (RFC 6901); nullopt: the whole answer, or, for bytes, one of the
// places where
//           servers put them: a bare string, /image, /audio, /0/blob, /data/0/b64_json, /images/0/image
// bytes     base64 has to be found there, with or without a data: prefix
[[nodiscard]] output
find_output(const event::whole& answer, const std::optional<std::string>& pointer, bool bytes);

} // namespace gw::adapters
