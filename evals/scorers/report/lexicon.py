"""The words of a report in English: organs and findings of chest, abdomen, brain and knee.

Written for this file, from what such reports say; it is small, and what it does not know is
compared as text. Of each name the phrases that mean it; a phrase may end in "s" where it is plural.
"""

import re
from collections.abc import Mapping, Sequence

ANATOMIES: Mapping[str, Sequence[str]] = {
    # chest
    "lung": ("lung", "lungs", "pulmonary", "lung fields", "lung zone", "lung base", "lung bases",
             "lung apex", "parenchyma", "lung parenchyma", "lobe", "lobes", "lobar", "lingula",
             "airspace", "basilar", "bibasilar", "basal", "apical", "retrocardiac", "bases"),
    "pleura": ("pleura", "pleural", "pleural space", "pleural spaces", "costophrenic angle",
               "costophrenic angles", "costophrenic sulcus", "hemithorax", "hemithoraces"),
    "heart": ("heart", "cardiac", "cardiac silhouette", "heart size", "ventricle of the heart",
              "myocardium", "left atrium"),
    "cardiomediastinal silhouette": ("cardiomediastinal silhouette", "cardiomediastinal contour",
                                     "cardiomediastinal contours", "cardiomediastinal"),
    "pericardium": ("pericardium", "pericardial"),
    "mediastinum": ("mediastinum", "mediastinal", "mediastinal contour", "mediastinal contours"),
    "hilum": ("hilum", "hila", "hilar", "hilar contours", "perihilar"),
    "pulmonary vessels": ("pulmonary vasculature", "pulmonary vascularity", "vasculature",
                          "vascularity", "pulmonary vessels", "pulmonary artery",
                          "pulmonary arteries", "pulmonary vascular"),
    "aorta": ("aorta", "aortic", "aortic arch", "thoracic aorta", "abdominal aorta"),
    "trachea": ("trachea", "tracheal", "airway", "airways"),
    "bronchus": ("bronchus", "bronchi", "bronchial"),
    "diaphragm": ("diaphragm", "hemidiaphragm", "hemidiaphragms", "diaphragmatic"),
    "chest": ("chest", "thorax", "thoracic", "cardiopulmonary", "cardiothoracic", "intrathoracic"),
    "rib": ("rib", "ribs"),
    "spine": ("spine", "thoracic spine", "lumbar spine", "vertebra", "vertebrae", "vertebral",
              "vertebral body", "vertebral bodies", "spinal"),
    "bone": ("bone", "bones", "osseous", "osseous structures", "bony", "bony structures",
             "bony thorax", "skeletal", "skeleton"),
    "clavicle": ("clavicle", "clavicles", "clavicular"),
    "soft tissue": ("soft tissue", "soft tissues"),
    "lymph node": ("lymph node", "lymph nodes", "nodal"),
    # abdomen
    "liver": ("liver", "hepatic", "intrahepatic", "liver parenchyma", "hepatic lobe",
              "lobe of the liver", "liver lobe"),
    "gallbladder": ("gallbladder", "gall bladder"),
    "bile duct": ("bile duct", "bile ducts", "biliary", "common bile duct", "biliary tree", "cbd",
                  "biliary ducts", "intrahepatic ducts"),
    "pancreas": ("pancreas", "pancreatic", "pancreatic duct"),
    "spleen": ("spleen", "splenic"),
    "kidney": ("kidney", "kidneys", "renal"),
    "adrenal gland": ("adrenal", "adrenals", "adrenal gland", "adrenal glands"),
    "ureter": ("ureter", "ureters", "ureteral"),
    "bladder": ("bladder", "urinary bladder"),
    "stomach": ("stomach", "gastric"),
    "bowel": ("bowel", "small bowel", "large bowel", "bowel loops", "colon", "colonic",
              "intestine", "sigmoid", "cecum", "rectum", "duodenum", "bowel wall"),
    "appendix": ("appendix", "appendiceal"),
    "peritoneum": ("peritoneum", "peritoneal", "peritoneal cavity", "intraperitoneal"),
    "abdomen": ("abdomen", "abdominal", "intra-abdominal", "intraabdominal", "pelvis", "pelvic"),
    "prostate": ("prostate", "prostatic"),
    "uterus": ("uterus", "uterine"),
    "ovary": ("ovary", "ovaries", "ovarian", "adnexa", "adnexal"),
    # brain
    "brain": ("brain", "cerebral", "intracranial", "brain parenchyma", "cerebrum",
              "cerebral hemisphere", "cerebral hemispheres", "intraaxial", "intra-axial"),
    "frontal lobe": ("frontal lobe", "frontal lobes", "frontal"),
    "parietal lobe": ("parietal lobe", "parietal lobes", "parietal"),
    "temporal lobe": ("temporal lobe", "temporal lobes", "temporal"),
    "occipital lobe": ("occipital lobe", "occipital lobes", "occipital"),
    "cerebellum": ("cerebellum", "cerebellar"),
    "brainstem": ("brainstem", "brain stem", "pons", "pontine", "midbrain", "medulla"),
    "basal ganglia": ("basal ganglia", "putamen", "caudate", "thalamus", "thalamic"),
    "white matter": ("white matter", "periventricular white matter", "periventricular"),
    "ventricles": ("ventricles", "ventricular system", "lateral ventricle", "lateral ventricles",
                   "ventricle", "ventricular"),
    "sulci": ("sulci", "cisterns", "basal cisterns"),
    "midline": ("midline", "midline structures"),
    "skull": ("skull", "calvarium", "calvarial"),
    "paranasal sinus": ("paranasal sinus", "paranasal sinuses", "maxillary sinus", "sinuses",
                        "sinus", "mastoid air cells", "mastoids"),
    "orbit": ("orbit", "orbits", "orbital"),
    "pituitary gland": ("pituitary", "pituitary gland", "sella"),
    # knee
    "anterior cruciate ligament": ("anterior cruciate ligament", "acl"),
    "posterior cruciate ligament": ("posterior cruciate ligament", "pcl"),
    "cruciate ligament": ("cruciate ligaments", "cruciate ligament"),
    "medial collateral ligament": ("medial collateral ligament", "mcl"),
    "lateral collateral ligament": ("lateral collateral ligament", "lcl"),
    "collateral ligament": ("collateral ligaments", "collateral ligament"),
    "medial meniscus": ("medial meniscus", "medial meniscal"),
    "lateral meniscus": ("lateral meniscus", "lateral meniscal"),
    "meniscus": ("meniscus", "menisci", "meniscal"),
    "cartilage": ("cartilage", "patellar cartilage", "articular cartilage", "chondral"),
    "patella": ("patella", "patellar", "patellofemoral"),
    "femur": ("femur", "femoral", "femoral condyle", "medial femoral condyle",
              "lateral femoral condyle", "trochlea"),
    "tibia": ("tibia", "tibial", "tibial plateau", "medial tibial plateau",
              "lateral tibial plateau"),
    "tendon": ("tendon", "tendons", "quadriceps tendon", "patellar tendon"),
    "knee joint": ("knee", "knee joint", "joint", "joint space", "joint spaces", "suprapatellar"),
}  # fmt: skip

FINDINGS: Mapping[str, tuple[str, Sequence[str]]] = {
    # what a report may find, where that is unless the report says another place, and its phrases
    "effusion": ("pleura", ("effusion", "effusions", "hydrothorax",
                            "blunting of the costophrenic angle", "pleural fluid",
                            "costophrenic angle blunting")),
    "pneumothorax": ("pleura", ("pneumothorax", "pneumothoraces", "ptx")),
    "consolidation": ("lung", ("consolidation", "consolidations", "airspace disease",
                               "airspace opacity", "airspace opacities", "consolidative opacity",
                               "consolidative opacities")),
    "opacity": ("lung", ("opacity", "opacities", "opacification", "infiltrate", "infiltrates",
                         "haziness", "ground-glass opacity", "ground-glass opacities",
                         "ground glass opacity", "ground glass opacities", "ground-glass")),
    "pneumonia": ("lung", ("pneumonia", "pneumonias", "bronchopneumonia", "infection")),
    "atelectasis": ("lung", ("atelectasis", "atelectases", "atelectatic changes", "volume loss",
                             "atelectatic")),
    "pulmonary oedema": ("lung", ("pulmonary edema", "pulmonary oedema", "interstitial edema",
                                  "alveolar edema")),
    "vascular congestion": ("pulmonary vessels", ("vascular congestion", "congestion",
                                                  "pulmonary venous congestion",
                                                  "vascular engorgement")),
    "emphysema": ("lung", ("emphysema", "emphysematous changes", "emphysematous", "hyperinflation",
                           "hyperinflated", "copd", "hyperexpanded")),
    "fibrosis": ("lung", ("fibrosis", "fibrotic changes", "scarring", "scar", "honeycombing")),
    "bronchiectasis": ("bronchus", ("bronchiectasis", "bronchiectatic changes")),
    "granuloma": ("lung", ("granuloma", "granulomas", "granulomatous disease")),
    "pleural thickening": ("pleura", ("pleural thickening",)),
    "pulmonary embolism": ("pulmonary vessels", ("pulmonary embolism", "pulmonary embolus",
                                                 "pulmonary emboli", "filling defect",
                                                 "filling defects")),
    "tuberculosis": ("lung", ("tuberculosis", "tb")),
    "hernia": ("", ("hernia", "hernias", "herniation", "hiatal hernia")),
    "fracture": ("bone", ("fracture", "fractures", "fractured")),
    "scoliosis": ("spine", ("scoliosis", "dextroscoliosis", "levoscoliosis")),
    "degenerative change": ("", ("degenerative change", "degenerative changes", "spondylosis",
                                 "degenerative disease", "osteophyte", "osteophytes",
                                 "osteoarthritis", "arthrosis")),
    "calcification": ("", ("calcification", "calcifications", "calcified", "calcific")),
    "tortuosity": ("aorta", ("tortuous", "tortuosity", "unfolded")),
    "aneurysm": ("aorta", ("aneurysm", "aneurysms", "aneurysmal dilatation")),
    "lymphadenopathy": ("lymph node", ("lymphadenopathy", "adenopathy",
                                       "enlarged lymph node", "enlarged lymph nodes")),
    "enlargement": ("", ("enlarged", "enlargement", "cardiomegaly", "hepatomegaly",
                         "splenomegaly", "hepatosplenomegaly", "prostatomegaly", "prominent")),
    "free air": ("peritoneum", ("free air", "pneumoperitoneum", "free intraperitoneal air",
                                "subdiaphragmatic air")),
    "deviation": ("", ("deviation", "deviated", "midline shift", "shift", "shifted")),
    "elevation": ("diaphragm", ("elevated", "elevation")),
    # anywhere
    "nodule": ("", ("nodule", "nodules", "nodular opacity", "nodular opacities", "nodular lesion")),
    "mass": ("", ("mass", "masses", "tumor", "tumors", "tumour", "tumours", "neoplasm",
                  "malignancy", "carcinoma")),
    "lesion": ("", ("lesion", "lesions")),
    "metastasis": ("", ("metastasis", "metastases", "metastatic disease", "metastatic lesions")),
    "cyst": ("", ("cyst", "cysts", "cystic lesion", "cystic lesions")),
    "abscess": ("", ("abscess", "abscesses")),
    "oedema": ("", ("edema", "oedema", "swelling")),
    "haematoma": ("", ("hematoma", "haematoma", "hematomas", "subdural hematoma",
                       "epidural hematoma")),
    "haemorrhage": ("", ("hemorrhage", "haemorrhage", "hemorrhages", "bleed", "bleeding",
                         "subarachnoid hemorrhage", "intracranial hemorrhage")),
    "fat stranding": ("", ("fat stranding", "stranding", "inflammatory changes")),
    "thickening": ("", ("thickening", "wall thickening", "thickened")),
    "dilatation": ("", ("dilatation", "dilation", "dilated", "ectasia", "distended", "distension")),
    "stenosis": ("", ("stenosis", "narrowing", "narrowed", "stricture")),
    "abnormality": ("", ("abnormality", "abnormalities", "abnormal", "acute process",
                         "acute disease", "disease", "disease process", "finding", "findings",
                         "pathology", "process")),
    # abdomen
    "stone": ("", ("stone", "stones", "calculus", "calculi", "cholelithiasis", "gallstone",
                   "gallstones", "nephrolithiasis", "urolithiasis")),
    "cholecystitis": ("gallbladder", ("cholecystitis",)),
    "hydronephrosis": ("kidney", ("hydronephrosis", "hydroureteronephrosis")),
    "ascites": ("peritoneum", ("ascites", "free fluid", "free intraperitoneal fluid")),
    "steatosis": ("liver", ("steatosis", "fatty infiltration", "fatty liver",
                            "fatty change", "fatty changes")),
    "cirrhosis": ("liver", ("cirrhosis", "cirrhotic", "nodular contour")),
    "haemangioma": ("liver", ("hemangioma", "haemangioma", "hemangiomas")),
    "appendicitis": ("appendix", ("appendicitis",)),
    "diverticulosis": ("bowel", ("diverticulosis", "diverticula", "diverticulum")),
    "diverticulitis": ("bowel", ("diverticulitis",)),
    "obstruction": ("", ("obstruction", "obstructed", "ileus")),
    "pancreatitis": ("pancreas", ("pancreatitis",)),
    # brain
    "infarct": ("brain", ("infarct", "infarcts", "infarction", "infarctions", "ischemia",
                          "ischaemia", "ischemic change", "ischemic changes", "stroke",
                          "restricted diffusion", "lacune", "lacunar infarct")),
    "hydrocephalus": ("ventricles", ("hydrocephalus", "ventriculomegaly")),
    "atrophy": ("brain", ("atrophy", "atrophic", "volume loss of the brain", "involution")),
    "mass effect": ("brain", ("mass effect",)),
    "white matter change": ("white matter", ("white matter changes", "white matter change",
                                             "white matter hyperintensities",
                                             "small vessel disease", "microangiopathy",
                                             "white matter lesions", "leukoaraiosis")),
    "enhancement": ("", ("abnormal enhancement", "enhancement", "enhancing")),
    "sinusitis": ("paranasal sinus", ("sinusitis", "mucosal thickening")),
    # knee
    "tear": ("", ("tear", "tears", "torn", "rupture", "ruptured", "disruption")),
    "sprain": ("", ("sprain", "strain")),
    "cartilage loss": ("cartilage", ("cartilage loss", "chondromalacia", "chondral loss",
                                     "cartilage defect", "chondral defect", "full-thickness loss",
                                     "cartilage thinning")),
    "bone marrow lesion": ("bone", ("bone marrow lesion", "bone marrow lesions",
                                    "bone marrow edema", "marrow edema", "bone bruise",
                                    "bone contusion", "contusion")),
    "synovitis": ("knee joint", ("synovitis", "synovial thickening")),
    "loose body": ("knee joint", ("loose body", "loose bodies")),
    "popliteal cyst": ("knee joint", ("popliteal cyst", "baker cyst", "baker's cyst",
                                      "bakers cyst")),
    "degeneration": ("", ("degeneration", "mucoid degeneration", "fraying")),
}  # fmt: skip

PLACES = {"effusion": frozenset(("pleura", "pericardium", "knee joint"))}
"""Where a finding can be at all, if an organ that stands near would misplace it."""

FIXED = frozenset((
    "pneumothorax", "pulmonary oedema", "pleural thickening", "cholecystitis", "hydronephrosis",
    "ascites", "appendicitis", "pancreatitis", "hydrocephalus", "synovitis", "popliteal cyst",
    "steatosis", "cirrhosis", "free air", "white matter change", "scoliosis", "diverticulosis",
    "diverticulitis", "pulmonary embolism", "sinusitis", "tuberculosis", "emphysema", "loose body",
    "pneumonia", "consolidation", "atelectasis", "mass effect", "bronchiectasis",
    "vascular congestion",
))  # fmt: skip
"""Findings that have only one place, whatever organ stands near."""

VAGUE = frozenset(("finding", "findings", "process"))
"""Phrases that state something only where they are denied: "no acute findings"."""

OF_ITS_ORGAN: Mapping[str, str] = {
    "cardiomegaly": "heart", "hepatomegaly": "liver", "splenomegaly": "spleen",
    "prostatomegaly": "prostate", "hepatosplenomegaly": "liver", "midline shift": "midline",
    "cholelithiasis": "gallbladder", "gallstone": "gallbladder", "gallstones": "gallbladder",
    "nephrolithiasis": "kidney", "urolithiasis": "kidney", "hiatal hernia": "stomach",
    "subdural hematoma": "brain", "epidural hematoma": "brain", "spondylosis": "spine",
    "subarachnoid hemorrhage": "brain", "intracranial hemorrhage": "brain",
}  # fmt: skip
"""Phrases that say themselves where the finding is."""

NORMAL = (
    "normal", "unremarkable", "clear", "intact", "within normal limits", "patent", "preserved",
    "symmetric", "symmetrical", "well aerated", "negative",
)  # fmt: skip
"""What says that an organ has no abnormality."""

SIDES = {
    "left": "left", "left-sided": "left", "leftward": "left", "right": "right",
    "right-sided": "right", "rightward": "right", "bilateral": "bilateral",
    "bilaterally": "bilateral", "both": "bilateral", "bibasilar": "bilateral",
}  # fmt: skip
ZONES = {
    "upper": "upper", "middle": "middle", "lower": "lower", "base": "lower", "bases": "lower",
    "basilar": "lower", "bibasilar": "lower", "basal": "lower", "apical": "upper",
    "apex": "upper", "retrocardiac": "lower", "lingula": "middle",
}  # fmt: skip
ZONED = frozenset(("lung",))
"""Organs of which the zone counts as part of the place."""

PAIRED = frozenset((
    "lung", "pleura", "hilum", "diaphragm", "rib", "clavicle", "kidney", "adrenal gland", "ureter",
    "ovary", "frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "cerebellum",
    "brain", "basal ganglia", "ventricles", "paranasal sinus", "orbit", "knee joint", "liver",
))  # fmt: skip
"""Organs of which the side counts as part of the place."""


def phrases(names: Mapping[str, Sequence[str]]) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """A pattern of all phrases, the longest first, and what each of them means."""
    meant = {phrase: name for name, each in names.items() for phrase in each}
    longest = sorted(meant, key=lambda phrase: (-len(phrase), phrase))
    joined = "|".join(map(re.escape, longest))
    return re.compile(rf"(?<![\w-])(?:{joined})(?![\w])"), meant


ANATOMY, ANATOMY_OF = phrases(ANATOMIES)
FINDING, FINDING_OF = phrases({name: each for name, (_, each) in FINDINGS.items()})
DEFAULT_PLACE = {name: place for name, (place, _) in FINDINGS.items()}
