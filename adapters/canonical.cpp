#include "adapters/canonical.hpp"

#include "adapters/encode.hpp"
#include "wire/json_walk.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace gw::adapters {
namespace {

using wire::elements_of;
using wire::member_of;
using wire::member_view;
using wire::members_of;
using shape = answer_shape;

// A new document made of an old one: text of ours, and values of the old one as they were.
class writer
{
public:
    explicit writer(std::string_view document) : document_(document) {}

    writer& text(std::string_view what)
    {
        append_text(plan_, std::string(what));
        return *this;
    }

    // REQUIRES: `value` lies inside the document.
    writer& value(std::string_view value)
    {
        constexpr std::size_t worth_a_range = 4096;
        if (value.size() < worth_a_range) {
            return text(value);
        }
        const auto begin = static_cast<std::uint64_t>(value.data() - document_.data());
        plan_.pieces.push_back(piece::copy({begin, begin + value.size()}));
        return *this;
    }

    [[nodiscard]] body_plan done() { return std::move(plan_); }

private:
    std::string_view document_;
    body_plan plan_;
};

body_plan same(std::string_view document, std::string_view value)
{
    return writer(document).value(value).done();
}

bool is_list(std::string_view value)
{
    return value.starts_with('[');
}

bool is_object(std::string_view value)
{
    return value.starts_with('{');
}

// The only element of a list, if it begins as told: [[...]] and [{...}] with one inside.
std::string_view only_element(std::string_view value, char begins)
{
    const auto elements = elements_of(value);
    return elements && elements->size() == 1 && elements->front().starts_with(begins) ? elements->front()
                                                                                      : std::string_view{};
}

// A list of objects: one list too many comes off, one that is missing is put round.
body_plan flat_list(std::string_view document, std::string_view value)
{
    if (is_object(value)) {
        return writer(document).text("[").value(value).text("]").done();
    }
    const std::string_view inner = only_element(value, '[');
    return same(document, inner.empty() ? value : inner);
}

// {"labels":[...],"scores":[...]} of one input.
struct pairs
{
    std::vector<std::string_view> labels;
    std::vector<std::string_view> scores;
};

std::optional<pairs> pairs_of(std::string_view value)
{
    auto labels = elements_of(member_of(value, "labels"));
    auto scores = elements_of(member_of(value, "scores"));
    if (!labels || !scores || labels->size() != scores->size()) {
        return std::nullopt;
    }
    return pairs{std::move(*labels), std::move(*scores)};
}

void write_pairs(writer& to, const pairs& from)
{
    to.text("[");
    for (std::size_t i = 0; i < from.labels.size(); ++i) {
        to.text(i == 0 ? R"({"label":)" : R"(,{"label":)").value(from.labels[i]);
        to.text(R"(,"score":)").value(from.scores[i]).text("}");
    }
    to.text("]");
}

// [{"label","score"}], also where labels and scores came as two lists.
body_plan label_scores(std::string_view document, std::string_view value)
{
    if (const auto one = pairs_of(value)) {
        writer out(document);
        write_pairs(out, *one);
        return out.done();
    }
    const auto elements = elements_of(value);
    if (!elements || elements->empty()) {
        return flat_list(document, value);
    }
    std::vector<pairs> all;
    for (const std::string_view each : *elements) {
        auto found = pairs_of(each);
        if (!found) {
            return flat_list(document, value);
        }
        all.push_back(std::move(*found));
    }
    writer out(document);
    if (all.size() == 1) {
        write_pairs(out, all.front());
        return out.done();
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        out.text(i == 0 ? "[" : ",");
        write_pairs(out, all[i]);
    }
    out.text("]");
    return out.done();
}

// OpenAI's choices[] as [{"generated_text","finish_reason"?}]; their order is that of `index`.
std::optional<body_plan>
completions(std::string_view document, std::string_view value, std::string_view answer_key)
{
    const auto choices = elements_of(member_of(value, "choices"));
    if (!choices || choices->empty()) {
        return std::nullopt;
    }
    writer out(document);
    out.text("[");
    for (std::size_t i = 0; i < choices->size(); ++i) {
        std::string_view text = member_of((*choices)[i], "text");
        if (text.empty()) {
            text = member_of(member_of((*choices)[i], "message"), "content");
        }
        if (!text.starts_with('"')) {
            return std::nullopt;
        }
        out.text((i == 0 ? "{" : ",{") + wire::json_string(answer_key) + ":").value(text);
        const std::string_view finish = member_of((*choices)[i], "finish_reason");
        if (finish.starts_with('"')) {
            out.text(R"(,"details":{"finish_reason":)").value(finish).text("}");
        }
        out.text("}");
    }
    out.text("]");
    return out.done();
}

// A list of objects written anew, member by member, as `change` says; nullopt: not all are objects.
struct changed
{
    std::string_view key;    // empty: the member is left out
    std::string_view before; // text of ours in front of the value
    std::string_view value;
};
std::optional<body_plan> rewritten(
    std::string_view document,
    const std::vector<std::string_view>& objects,
    changed (*change)(std::string_view key, std::string_view value)
)
{
    writer out(document);
    out.text("[");
    for (std::size_t i = 0; i < objects.size(); ++i) {
        const auto members = members_of(objects[i]);
        if (!members) {
            return std::nullopt;
        }
        out.text(i == 0 ? "{" : ",{");
        bool first = true;
        for (const member_view& each : *members) {
            const changed now = change(each.key, each.value);
            if (!now.key.empty()) {
                out.text((first ? "" : ",") + wire::json_string(now.key) + ":");
                out.text(now.before).value(now.value);
                first = false;
            }
        }
        out.text("}");
    }
    return out.text("]").done();
}

// Masks as bare base64; a score that is null is left out (one client refuses the whole answer for it).
body_plan masks(std::string_view document, std::string_view value)
{
    const std::string_view inner = only_element(value, '[');
    const auto elements = elements_of(inner.empty() ? value : inner);
    if (!elements) {
        return flat_list(document, value);
    }
    auto made = rewritten(document, *elements, [](std::string_view key, std::string_view text) {
        if (key == "score" && text == "null") {
            return changed{};
        }
        const std::size_t comma =
            text.starts_with("\"data:") ? text.substr(0, 256).find(',') : std::string_view::npos;
        return key == "mask" && comma != std::string_view::npos ? changed{key, "\"", text.substr(comma + 1)}
                                                                : changed{key, "", text};
    });
    return made ? std::move(*made) : same(document, value);
}

std::uint64_t index_of(std::string_view value, std::uint64_t otherwise)
{
    const std::string_view said = member_of(value, "index");
    std::uint64_t index = 0;
    for (const char c : said) {
        if (c < '0' || c > '9' || index > 100'000'000) {
            return otherwise;
        }
        index = index * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return said.empty() ? otherwise : index;
}

// Numbers that a server put into an object: similarities, embeddings, OpenAI's data[].embedding.
body_plan numbers(std::string_view document, std::string_view value)
{
    if (!is_object(value)) {
        return same(document, value);
    }
    for (const std::string_view key : {"similarities", "embeddings"}) {
        if (const std::string_view found = member_of(value, key); is_list(found)) {
            return same(document, found);
        }
    }
    const auto data = elements_of(member_of(value, "data"));
    if (!data) {
        return same(document, value);
    }
    std::vector<std::pair<std::uint64_t, std::string_view>> vectors;
    for (const std::string_view each : *data) {
        const std::string_view found = member_of(each, "embedding");
        if (found.empty()) {
            return same(document, value);
        }
        vectors.emplace_back(index_of(each, vectors.size()), found);
    }
    std::ranges::sort(vectors, {}, &std::pair<std::uint64_t, std::string_view>::first);
    writer out(document);
    out.text("[");
    for (std::size_t i = 0; i < vectors.size(); ++i) {
        out.text(i == 0 ? "" : ",").value(vectors[i].second);
    }
    return out.text("]").done();
}

// [{"index","score","text"?}] of {"scores":[...]}, and of
// {"results":[{"index","relevance_score","document"?}]}.
body_plan ranking(std::string_view document, std::string_view value)
{
    if (const auto scores = elements_of(member_of(value, "scores"))) {
        writer out(document);
        out.text("[");
        for (std::size_t i = 0; i < scores->size(); ++i) {
            out.text((i == 0 ? R"({"index":)" : R"(,{"index":)") + std::to_string(i) + R"(,"score":)");
            out.value((*scores)[i]).text("}");
        }
        return out.text("]").done();
    }
    const auto results = elements_of(member_of(value, "results"));
    if (!results) {
        return flat_list(document, value);
    }
    auto made = rewritten(document, *results, [](std::string_view key, std::string_view text) {
        if (key == "document") {
            const std::string_view inside = member_of(text, "text");
            return changed{"text", "", inside.empty() ? text : inside};
        }
        return changed{key == "relevance_score" ? "score" : key, "", text};
    });
    return made ? std::move(*made) : same(document, value);
}

// Transcriptions: OpenAI's segments as chunks. The rest stays.
body_plan transcription(std::string_view document, std::string_view value)
{
    const std::string_view inner = only_element(value, '{');
    value = inner.empty() ? value : inner;
    const auto segments = elements_of(member_of(value, "segments"));
    if (!segments || !member_of(value, "chunks").empty() || !value.ends_with('}')) {
        return same(document, value);
    }
    writer out(document);
    out.value(value.substr(0, value.size() - 1)).text(R"(,"chunks":[)");
    bool first = true;
    for (const std::string_view each : *segments) {
        const std::string_view text = member_of(each, "text");
        const std::string_view start = member_of(each, "start");
        const std::string_view end = member_of(each, "end");
        if (text.empty() || start.empty() || end.empty()) {
            continue;
        }
        out.text(first ? R"({"text":)" : R"(,{"text":)").value(text).text(R"(,"timestamp":[)");
        out.value(start).text(",").value(end).text("]}");
        first = false;
    }
    return out.text("]}").done();
}

body_plan one_object(std::string_view document, std::string_view value)
{
    const std::string_view inner = only_element(value, '{');
    return same(document, inner.empty() ? value : inner);
}

} // namespace

bool has_forms(const task_info& task)
{
    switch (task.shape) {
    case shape::label_scores:
        return !task.binary_input(); // images and audio are classified flat everywhere
    case shape::zero_shot_scores:
    case shape::text_list:
    case shape::masks:
    case shape::answers:
    case shape::table_answer:
    case shape::ranking:
        return true;
    case shape::numbers:
        return !task.binary_input();
    case shape::mask_fills:
    case shape::token_labels:
    case shape::text_object:
    case shape::value:
    case shape::bytes:
    case shape::detections:
    case shape::answer:
    case shape::audio_list:
    case shape::chat:
        return false;
    }
    return false;
}

body_plan canonical(std::string_view document, byte_range where, const task_info& task)
{
    const std::string_view value = document.substr(where.begin, where.size());
    switch (task.shape) {
    case shape::label_scores:
    case shape::zero_shot_scores:
        return label_scores(document, value);
    case shape::text_list: {
        auto made = completions(document, value, task.answer_key);
        return made ? std::move(*made) : flat_list(document, value);
    }
    case shape::answers:
    case shape::mask_fills:
    case shape::token_labels:
        return flat_list(document, value);
    case shape::masks:
        return masks(document, value);
    case shape::text_object:
        return transcription(document, value);
    case shape::table_answer:
        return one_object(document, value);
    case shape::numbers:
        return numbers(document, value);
    case shape::ranking:
        return ranking(document, value);
    default:
        return same(document, value);
    }
}

} // namespace gw::adapters
