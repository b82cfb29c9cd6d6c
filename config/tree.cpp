#include "config/tree.hpp"

#include "wire/bytes.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <utility>

namespace gw::config {
namespace {

constexpr std::size_t deepest = 32;
constexpr std::size_t most_nodes = 2'000'000;

// Thrown through yaml-cpp, which has no other way to be stopped; caught in read_tree.
struct stop
{
    int line;
    std::string text;
    bool maybe_variable = false; // an unquoted `${VAR}` may be why
};

// Where the first byte stands that is no UTF-8, or is `also`; the size: there is none.
std::size_t first_strange(std::string_view text, std::optional<char> also = std::nullopt)
{
    const char* const end = text.data() + text.size();
    const char* at = text.data();
    while (at != end) {
        const std::size_t size = static_cast<unsigned char>(*at) < 0x80 ? 1 : wire::bytes::utf8_size(at, end);
        if (size == 0 || *at == also) {
            break;
        }
        at += size;
    }
    return static_cast<std::size_t>(at - text.data());
}

// Builds the tree from yaml-cpp's events. yaml-cpp's own Node keeps the last of two equal keys and says
// nothing.
class builder final : public YAML::EventHandler
{
public:
    builder(tree& into, std::string_view file) : into_(into), file_(file) {}

    void OnDocumentStart(const YAML::Mark& mark) override
    {
        if (++documents_ == 2) {
            throw stop{mark.line + 1, "a second document begins here; a policy is one"};
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override
    {
        add(mark, anchor, node{.is = node::type::null, .line = mark.line + 1});
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override
    {
        throw stop{
            mark.line + 1, "aliases (`*name`) are not supported here; write it out (a quoted \"*\" is text)"
        };
    }
    void OnScalar(
        const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value
    ) override
    {
        if (first_strange(value) != value.size()) { // it would go on into heads and JSON
            throw stop{mark.line + 1, "bytes that are not UTF-8; save the file as UTF-8"};
        }
        add(mark,
            anchor,
            node{.is = node::type::scalar, .line = mark.line + 1, .plain = tag != "!", .text = value});
    }
    void OnSequenceStart(
        const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value
    ) override
    {
        open(mark, anchor, node::type::sequence);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(
        const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value
    ) override
    {
        open(mark, anchor, node::type::map);
    }
    void OnMapEnd() override { close(); }

private:
    struct frame
    {
        node value;
        bool has_key = false; // map: the key was read, its value comes next
        node::key key;
        std::unordered_map<std::string, int> lines{}; // map: of the keys so far
    };

    void count(const YAML::Mark& mark, YAML::anchor_t anchor)
    {
        if (anchor != YAML::NullAnchor) {
            throw stop{
                mark.line + 1,
                "anchors (`&name`) are not supported here; write it out (a quoted \"&\" is text)"
            };
        }
        if (++nodes_ > most_nodes) {
            throw stop{mark.line + 1, "this file holds too many values"};
        }
    }

    void open(const YAML::Mark& mark, YAML::anchor_t anchor, node::type type)
    {
        count(mark, anchor);
        if (stack_.size() >= deepest) {
            throw stop{mark.line + 1, "nested too deeply"};
        }
        if (awaits_key()) {
            throw stop{mark.line + 1, "a key must be text; quote it if it begins with `{` or `[`", true};
        }
        stack_.push_back({.value = {.is = type, .line = mark.line + 1}});
    }

    void close()
    {
        node done = std::move(stack_.back().value);
        stack_.pop_back();
        attach(std::move(done));
    }

    void add(const YAML::Mark& mark, YAML::anchor_t anchor, node value)
    {
        count(mark, anchor);
        if (!awaits_key()) {
            attach(std::move(value));
            return;
        }
        if (value.is == node::type::null) {
            throw stop{mark.line + 1, "a key must be text"};
        }
        stack_.back().key = {.text = std::move(value.text), .line = value.line};
        stack_.back().has_key = true;
    }

    // A value is complete: it goes into the list or map around it.
    void attach(node value)
    {
        if (stack_.empty()) {
            into_.root = std::move(value);
            return;
        }
        frame& around = stack_.back();
        if (around.value.is == node::type::map) {
            around.has_key = false;
            const auto [at, fresh] = around.lines.emplace(around.key.text, around.key.line);
            if (!fresh) {
                into_.problems.push_back(
                    {.file = file_,
                     .line = around.key.line,
                     .path = path(),
                     .text = "duplicate key; it stands at line " + std::to_string(at->second) + " already"}
                );
                return;
            }
            around.value.keys.push_back(std::move(around.key));
        }
        around.value.items.push_back(std::move(value));
    }

    [[nodiscard]] bool awaits_key() const
    {
        return !stack_.empty() && stack_.back().value.is == node::type::map && !stack_.back().has_key;
    }

    [[nodiscard]] std::string path() const
    {
        std::string out;
        for (const auto& each : stack_) {
            if (each.value.is == node::type::map) {
                out = join(out, each.key.text);
            } else {
                out += '[' + std::to_string(each.value.items.size()) + ']';
            }
        }
        return out;
    }

    tree& into_;
    std::string file_;
    std::vector<frame> stack_;
    std::size_t nodes_ = 0;
    int documents_ = 0;
};

// True when a `${` stands outside quotes and comments.
bool has_unquoted_variable(std::string_view line)
{
    char quote = '\0';
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (quote != '\0') {
            if (c == '\\' && quote == '"') {
                ++i;
            } else if (c == quote) {
                quote = '\0';
            }
        } else if (c == '"' || c == '\'') {
            quote = c;
        } else if (c == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
            return false;
        } else if (c == '$' && i + 1 < line.size() && line[i + 1] == '{') {
            return true;
        }
    }
    return false;
}

// yaml-cpp's words for the usual mistakes, in a person's.
std::string explained(std::string_view why, std::string_view line)
{
    const std::size_t indent = line.find_first_not_of(' ');
    if (indent != std::string_view::npos && line[indent] == '\t') {
        return "a tab stands in the indentation; use spaces";
    }
    if (why == YAML::ErrorMsg::END_OF_MAP_FLOW) {
        return "a `{` before here is not closed";
    }
    if (why == YAML::ErrorMsg::END_OF_SEQ_FLOW) {
        return "a `[` before here is not closed";
    }
    // yaml-cpp 0.8 adds the anchor's name.
    if (why.starts_with(YAML::ErrorMsg::UNKNOWN_ANCHOR) || why == YAML::ErrorMsg::ALIAS_NOT_FOUND) {
        return "a `*` without quotes begins an alias; for the pattern write \"*\"";
    }
    return std::string(why);
}

// What to say about a file that is not YAML. An unquoted `${VAR}` inside `{ }` is the usual cause, and the
// parser may stumble some lines after it.
problem not_yaml(std::string_view yaml, std::string_view file, int line, std::string_view why)
{
    std::vector<std::string_view> lines;
    for (std::size_t at = 0;
         at <= yaml.size() && lines.size() < static_cast<std::size_t>(std::max(line, 1));) {
        const std::size_t end = std::min(yaml.find('\n', at), yaml.size());
        lines.push_back(yaml.substr(at, end - at));
        at = end + 1;
    }
    constexpr std::size_t look_back = 20;
    for (std::size_t back = 0; back < lines.size() && back < look_back; ++back) {
        const std::size_t index = lines.size() - 1 - back;
        if (has_unquoted_variable(lines[index])) {
            return {
                .file = std::string(file),
                .line = static_cast<int>(index) + 1,
                .path = {},
                .text = "not YAML, since `${...}` stands here without quotes: quote it, as in \"${HF_TOKEN}\""
            };
        }
    }
    const std::string text = explained(why, lines.empty() ? std::string_view() : lines.back());
    return {.file = std::string(file), .line = line, .path = {}, .text = "not YAML: " + text};
}

} // namespace

const node* node::find(std::string_view name) const
{
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].text == name) {
            return &items[i];
        }
    }
    return nullptr;
}

std::string_view to_string(node::type value)
{
    switch (value) {
    case node::type::null:
        return "nothing";
    case node::type::scalar:
        return "a single value";
    case node::type::sequence:
        return "a list";
    case node::type::map:
        return "a map";
    }
    return "nothing";
}

tree read_tree(std::string_view yaml, std::string_view file_name)
{
    tree made;
    const auto refuse = [&](int line, std::string text) {
        made.whole = false;
        made.problems.push_back(
            {.file = std::string(file_name), .line = line, .path = {}, .text = std::move(text)}
        );
        return made;
    };
    if (yaml.size() > longest_policy) {
        return refuse(0, "is larger than " + std::to_string(longest_policy) + " bytes");
    }
    if (const std::size_t at = first_strange(yaml, '\0'); at != yaml.size()) {
        const auto line = std::count(yaml.begin(), yaml.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
        return refuse(
            static_cast<int>(line),
            yaml[at] == '\0' ? "not YAML: a NUL byte stands here"
                             : "bytes that are not UTF-8; save the file as UTF-8"
        );
    }
    try {
        std::istringstream in{std::string(yaml)};
        YAML::Parser parser(in);
        builder events(made, file_name);
        while (parser.HandleNextDocument(events)) {
        }
    } catch (const stop& why) {
        made.whole = false;
        made.problems.push_back(
            why.maybe_variable
                ? not_yaml(yaml, file_name, why.line, why.text)
                : problem{.file = std::string(file_name), .line = why.line, .path = {}, .text = why.text}
        );
    } catch (const YAML::Exception& why) {
        made.whole = false;
        made.problems.push_back(not_yaml(yaml, file_name, why.mark.line + 1, why.msg));
    }
    return made;
}

std::string join(std::string_view base, std::string_view key)
{
    std::string out(base);
    if (!out.empty()) {
        out += '.';
    }
    out += key;
    return out;
}

} // namespace gw::config
