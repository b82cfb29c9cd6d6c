// A media type of ours is a token, a slash and a token: safe in a head and in a data: URL. Canonical types
// stay what they are, sniffing looks at its first bytes only, and Accept is read alike in upper case.
#include "payload/media_type.hpp"

#include "property.hpp"
#include "wire/field.hpp"

#include <string>

using namespace gw;
using namespace gw::payloads;

namespace {

constexpr modality kinds[] = {
    modality::text, modality::json, modality::image, modality::audio, modality::video, modality::any
};

void check_type(std::string_view type)
{
    if (type.empty()) {
        return;
    }
    const std::size_t slash = type.find('/');
    require(slash != std::string_view::npos, "two parts");
    require(wire::valid_name(type.substr(0, slash)) && wire::valid_name(type.substr(slash + 1)), "of tokens");
}

std::string upper(std::string_view text)
{
    std::string out{text};
    for (char& c : out) {
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return out;
}

} // namespace

GW_FUZZ(input)
{
    for (const modality wanted : kinds) {
        const std::string_view shows = sniff(input, wanted);
        check_type(shows);
        require(shows == sniff(input.substr(0, sniff_bytes), wanted), "the first bytes decide");
        require(shows.empty() || canonical(shows) == shows, "what is sniffed is canonical");
        require(!is_binary(wanted) || shows.empty() || is_binary(modality_of(shows)), "a file");

        const std::string type = canonical(input, wanted);
        check_type(type);
        require(canonical(type, wanted) == type, "canonical types stay what they are");
        require(canonical(upper(input), wanted) == type, "in any case");
        require(canonical(std::string{input} + "; a=b", wanted) == type, "with parameters too");

        const acceptance accepts = parse_accept(input, wanted);
        check_type(accepts.media_type);
        require(!accepts.prefers_json || (accepts.json && accepts.binary), "a preference needs a choice");
        require(accepts.media_type.empty() || accepts.binary, "a named type is accepted");
        const acceptance loud = parse_accept(upper(input), wanted);
        require(
            loud.json == accepts.json && loud.binary == accepts.binary &&
                loud.event_stream == accepts.event_stream && loud.prefers_json == accepts.prefers_json &&
                loud.media_type == accepts.media_type,
            "Accept has no case"
        );
    }
    require(is_json(input) == is_json(upper(input)), "JSON in any case");
    (void)looks_like_json(input);
}
