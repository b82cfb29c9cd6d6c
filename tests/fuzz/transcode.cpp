// A piece of a body plan yields the same in any split as in one go: what its kind says, never more bytes than
// it promised, and a failure when range, promise and bytes do not fit.
#include "payload/transcode.hpp"

#include "payload/base64.hpp"
#include "property.hpp"
#include "wire/json_text.hpp"

#include <algorithm>
#include <optional>
#include <string>

using namespace gw;
using namespace gw::payloads;

namespace {

struct done
{
    std::string out;
    std::optional<code> problem;
};

done run(const piece& plan, std::string_view bytes, std::size_t size)
{
    done made;
    transcoder worker(plan);
    const auto note = [&made, &plan](const result<void>& what) {
        if (!what) {
            made.problem = what.error().what;
        }
        require(made.out.size() <= plan.length, "never more than promised");
        return what.has_value();
    };
    in_blocks(bytes, size, [&](std::string_view block) { return note(worker.feed(block, made.out)); });
    if (!made.problem) {
        note(worker.finish(made.out));
    }
    return made;
}

void check(const piece& plan, std::string_view bytes, const std::optional<std::string>& wanted)
{
    for (const std::size_t size :
         {bytes.size() + 1, std::size_t{1}, std::size_t{2}, std::size_t{5}, std::size_t{64}}) {
        const done made = run(plan, bytes, size);
        require(made.problem.has_value() != wanted.has_value(), "it works when it should, in any split");
        require(!wanted || made.out == *wanted, "it yields what it should, in any split");
        require(
            wanted || made.problem == code::invalid_base64 || made.problem == code::internal,
            "a known failure"
        );
    }
}

} // namespace

GW_FUZZ(input)
{
    const byte_range all{7, 7 + input.size()};
    check(piece::copy(all), input, std::string{input});
    check(piece::encode(all), input, encode_base64(input));
    check(piece::literal(std::string{input}), "", std::string{input});

    // Base64 inside a JSON string, as the scanner lets it through.
    if (const auto text = wire::unescape_json_string(input)) {
        const auto bytes = decode_base64(*text);
        const auto size = bytes ? bytes->size() : text->size() / 4 * 3;
        const auto wanted = bytes ? std::optional(*bytes) : std::nullopt;
        check(piece::decode(all, true, size), input, wanted);
        if (!input.contains('\\')) {
            check(piece::decode(all, false, size), input, wanted);
        }
        check(piece::decode(all, true, size + 1), input, std::nullopt);
        if (size > 0) {
            check(piece::decode(all, true, size - 1), input, std::nullopt);
        }
    } else {
        (void)run(piece::decode(all, true, input.size()), input, 3);
    }

    // A range that is longer or shorter than what comes.
    check(piece::copy({0, input.size() + 1}), input, std::nullopt);
    if (!input.empty()) {
        check(piece::copy({0, input.size() - 1}), input, std::nullopt);
        check(piece::encode({0, input.size() - 1}), input, std::nullopt);
    }
}
