// Query parameters beside raw bytes, as a JSON object.
#include "dialects/reading.hpp"

#include "wire/json_text.hpp"
#include "wire/target.hpp"

#include <simdjson.h>

#include <map>
#include <utility>
#include <vector>

namespace gw::dialects {
namespace {

// RFC 8259 section 6.
bool is_json_number(std::string_view text)
{
    const auto digits = [&text] {
        const std::size_t before = text.size();
        while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
            text.remove_prefix(1);
        }
        return before - text.size();
    };
    const auto skip = [&text](std::string_view any_of) {
        const bool there = !text.empty() && any_of.find(text.front()) != std::string_view::npos;
        text.remove_prefix(there ? 1 : 0);
        return there;
    };

    skip("-");
    const bool leading_zero = text.starts_with('0');
    const std::size_t whole = digits();
    if (whole == 0 || (leading_zero && whole > 1)) {
        return false;
    }
    if (skip(".") && digits() == 0) {
        return false;
    }
    if (skip("eE")) {
        skip("+-");
        if (digits() == 0) {
            return false;
        }
    }
    return text.empty();
}

void append_query_value(std::string& out, const std::string& value)
{
    if (value == "true" || value == "false" || value == "null" || is_json_number(value)) {
        out += value;
    } else {
        wire::append_json_string(out, value);
    }
}

} // namespace

result<query_facts> read_query(std::string_view query, reserved names)
{
    // Names in the order in which they came, each with all its values.
    std::vector<std::pair<std::string, std::vector<std::string>>> pairs;
    std::map<std::string, std::size_t, std::less<>> places;
    bool is_text = true;
    const auto read = wire::for_each_query(query, [&](std::string name, std::string value) {
        is_text = is_text && simdjson::validate_utf8(name) && simdjson::validate_utf8(value);
        const auto [place, is_new] = places.try_emplace(name, pairs.size());
        if (is_new) {
            pairs.emplace_back(std::move(name), std::vector<std::string>{});
        }
        pairs[place->second].second.push_back(std::move(value));
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (!is_text) {
        return refuse(
            code::invalid_json,
            "The query is not UTF-8 once its percent escapes are undone. Encode it as UTF-8."
        );
    }

    query_facts facts;
    for (auto& [name, values] : pairs) {
        // The names that are no parameters.
        if (names == reserved::model_and_task && (name == "model" || name == "task")) {
            if (values.size() > 1) {
                return refuse_field(
                    name == "model" ? code::invalid_model : code::unknown_task,
                    name,
                    shown(name) + " stands in the query more than once. Name it once."
                );
            }
            (name == "model" ? facts.model : facts.task) = std::move(values.front());
            continue;
        }

        facts.parameters += facts.parameters.empty() ? '{' : ',';
        wire::append_json_string(facts.parameters, name);
        facts.parameters += ':';
        if (values.size() == 1) {
            append_query_value(facts.parameters, values.front());
            continue;
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
            facts.parameters += i == 0 ? '[' : ',';
            append_query_value(facts.parameters, values[i]);
        }
        facts.parameters += ']';
    }
    if (!facts.parameters.empty()) {
        facts.parameters += '}';
    }
    return facts;
}

} // namespace gw::dialects
