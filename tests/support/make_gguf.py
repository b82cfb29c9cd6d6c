"""Makes the parrot: a tiny real llama GGUF (130 kB) whose words are KNOWN at any sampling setting, so that tests can compare bytes.

usage: make_gguf.py OUT.gguf                    needs: gguf, numpy; the vocabulary is made here, nothing is downloaded
    any prompt                                  -> SENTENCE, then the end of the text (finish_reason "stop", 20 tokens with it)
    a prompt (last message) that ends in count  -> 1234567890123... one digit a token, for ever (finish_reason "length")

How. The prompt's last token alone decides: attention and feed-forward are zero, so the hidden state is the last token's embedding, which
says "state s" (a unit vector), and the output matrix has in the row of s's next token that same vector. Every byte is a token, so any
prompt can be written; they all mean "start". The sentence is cut into pieces of two bytes and more which no merge rule builds: a prompt can
never hold one, so a prompt cannot start in mid-sentence. Cuts fall inside of characters on purpose: a server must wait for the whole one.
Raw completions: a prompt that ends in a digit goes on counting. (In a chat the template ends with a line break unless the text ends in count.)
"""

import sys

import gguf
import numpy as np

SENTENCE = " Fourways says hi \u2014 na\u00efve caf\u00e9 \U0001f642 done."
PIECES = [
    *(b" F", b"ou", b"rw", b"ays", b" says", b" hi", b" \xe2", b"\x80\x94", b" n", b"a\xc3", b"\xafve"),
    *(b" c", b"af", b"\xc3\xa9", b" \xf0", b"\x9f\x99", b"\x82 ", b"do", b"ne."),
]
MERGES = [("c", "o"), ("co", "u"), ("n", "t"), ("cou", "nt")]  # the one way to a token of several bytes: "count"
TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if not messages or messages[-1]['content'][-5:] != 'count' %}{{ '\\n' }}{% endif %}"
)
WIDTH = 64  # also the number of states that fit
CONTEXT = 131072  # what the model claims to have learned; the server's own flag says how much of it there is
BEGIN, END = 0, 1  # token ids


def byte_alphabet():
    """Byte -> the printable character that stands for it in a byte-level BPE vocabulary (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def vocabulary():
    """Tokens (in the byte alphabet) and their types."""
    alphabet = byte_alphabet()
    spelled = ["".join(alphabet[b] for b in piece) for piece in PIECES]
    tokens = ["<|begin|>", "<|end|>", *alphabet.values(), *(a + b for a, b in MERGES), *spelled]
    assert len(set(tokens)) == len(tokens), "a token twice"
    types = [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2)
    return tokens, types, [tokens.index(s) for s in spelled]


def transitions(tokens, sentence):
    """Each token's state, and each state's next token: 0 is "start", then one per piece of the sentence, then one per digit."""
    state = np.zeros(len(tokens), int)
    after = {0: sentence[0]}
    for i, (here, following) in enumerate(zip(sentence, [*sentence[1:], END]), 1):
        state[here], after[i] = i, following
    digits = [tokens.index(d) for d in "1234567890"]
    for i, (here, following) in enumerate(zip(digits, digits[1:] + digits[:1]), len(after)):
        state[here], after[i] = i, following
    state[tokens.index("count")] = state[digits[-1]]  # like "0": a 1 follows
    return state, after


def write(path):
    tokens, types, sentence = vocabulary()
    state, after = transitions(tokens, sentence)
    embedding = np.eye(WIDTH, dtype=np.float16)[state] * WIDTH**0.5  # of length 1 per element, so the norm changes nothing
    output = np.zeros((len(tokens), WIDTH), np.float16)
    for s, following in after.items():
        output[following, s] += 16  # logit 128 against 0: certain at any temperature

    w = gguf.GGUFWriter(path, "llama")
    w.add_name("fourways-parrot")
    w.add_vocab_size(len(tokens))
    w.add_block_count(1)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_feed_forward_length(WIDTH)
    w.add_head_count(1)
    w.add_head_count_kv(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(WIDTH)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([" ".join(pair) for pair in MERGES])
    w.add_bos_token_id(BEGIN)
    w.add_eos_token_id(END)
    w.add_add_bos_token(True)
    w.add_chat_template(TEMPLATE)

    ones, zeros = np.ones(WIDTH, np.float32), np.zeros((WIDTH, WIDTH), np.float16)
    w.add_tensor("token_embd.weight", embedding.astype(np.float16))
    w.add_tensor("output_norm.weight", ones)
    w.add_tensor("output.weight", output)
    for name in ("attn_norm", "ffn_norm"):
        w.add_tensor(f"blk.0.{name}.weight", ones)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        w.add_tensor(f"blk.0.{name}.weight", zeros)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


assert b"".join(PIECES).decode() == SENTENCE

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(sys.argv[1])
