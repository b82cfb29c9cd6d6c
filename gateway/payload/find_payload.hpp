// Finds the client's binary payload in a JSON body: where the base64 text stands, how many bytes it decodes
// to, and of which media type it is. Reads the scanner's index and the short members only; a long string is
// never parsed. Pure; never throws for any input but want of memory.
#pragma once

#include "message/failure.hpp"
#include "message/request.hpp"
#include "payload/tasks.hpp"
#include "wire/json_scan.hpp"

#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace gw::payloads {

// The bytes of a range of the body, if they are in memory in one piece; "" if not. Valid until the next call.
using peek_fn = std::function<std::string_view(byte_range)>;

// Looks at `inputs` (a string, or an object with `base64` and `media_type`, or with the task's own key), and
// without `inputs` at the root (`image`, ...). A `data:image/png;base64,` prefix gives the type; `where`
// starts behind it.
//   task     null or of modality any: only what cannot be anything else is a payload: inputs.base64, a data
//   URL,
//            base64 text whose first bytes are those of a known file. Asked again when the task is known
//   returns  nullopt: no payload: the task takes no binary input, or the input is an http(s) URL (it travels
//   as it is) errors   invalid_base64   not decodable, with the position; for a long string only its length
//   and its first characters are
//                             judged, the rest while it is decoded (transcode.hpp)
//            wrong_modality   the task takes image, audio or video, and a text stands in its place
[[nodiscard]] result<std::optional<payload>> find_payload(
    const wire::json_index& index,
    std::span<const member_text> members,
    const task_info* task,
    const peek_fn& peek = {}
);

} // namespace gw::payloads
