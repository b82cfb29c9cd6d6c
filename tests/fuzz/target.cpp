// An accepted target has a path that no decoding lets walk; decoding and encoding are inverse; Boost.URL
// reads it the same way.
#include "wire/target.hpp"

#include "property.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/pct_string_view.hpp>
#include <boost/url/url_view.hpp>

#include <string>

using namespace gw;
using namespace gw::wire;

GW_FUZZ(input)
{
    const std::string encoded = percent_encode_segment(input);
    require(percent_decode(encoded).value_or("?") == input, "decoding undoes encoding");
    (void)for_each_query(input, [](std::string name, std::string value) {
        const std::string pair = percent_encode_segment(name) + "=" + percent_encode_segment(value);
        const auto same = for_each_query(pair, [&](const std::string& n, const std::string& v) {
            require(n == name && v == value, "a pair reads back as it was");
        });
        require(same.has_value(), "a pair reads back");
    });

    const result<target> made = parse_target(input);
    if (!made || made->path == "*") {
        return;
    }
    require(made->path.starts_with('/'), "a path starts with `/`");
    const result<std::string> path = percent_decode(made->path);
    require(path.has_value(), "a path decodes");
    require(percent_decode_query(made->query).has_value(), "a query decodes");
    const std::string walked = *path + "/";
    for (const std::string_view bad : {"/../", "/./", "\\"}) {
        require(walked.find(bad) == std::string::npos, "no decoding lets a path walk");
    }
    for (const char c : *path) {
        require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "no control bytes");
    }
    require(path->find("//") == std::string::npos, "no empty segments");

    std::string plain{made->path};
    if (!made->query.empty()) {
        plain.append("?").append(made->query);
    }
    const result<target> again = parse_target(plain);
    require(again && again->path == made->path && again->query == made->query, "it reads back as it was");
    const auto theirs = boost::urls::parse_origin_form(plain);
    if (theirs) { // stricter than we are about `"`, `<` and the like
        require(
            theirs->encoded_path() == made->path && theirs->encoded_query() == made->query, "Boost.URL agrees"
        );
        require(boost::urls::pct_string_view(made->path).decode() == *path, "Boost.URL decodes alike");
    } else {
        require(
            plain.find_first_of("\"<>[]^`{|}") != std::string::npos, "Boost.URL accepts what RFC 3986 allows"
        );
    }
}
